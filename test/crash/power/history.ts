/**
 * What happened to each file and folder, sorted out of the journal.
 *
 * A file is its changes and its syncs; a folder is the moves of its names and its syncs. The two
 * are durable apart from each other: a synced file whose name was never synced is lost all the
 * same.
 */
import path from 'node:path'
import type { Operation } from './journal.ts'

export type Change = Extract<Operation, { kind: 'write' | 'truncate' }>

export interface Sync {
  readonly at: number
  readonly began: number
}

export interface FileHistory {
  readonly kind: 'file'
  readonly changes: Change[]
  readonly syncs: Sync[]
}

/**
 * A name that appears, goes, or becomes another one of the same folder; or that a rename takes to
 * another folder, where it arrives at the same `at`.
 */
export type Move =
  | { readonly kind: 'leave'; readonly at: number; readonly name: string }
  | { readonly kind: 'arrive'; readonly at: number; readonly name: string; readonly node: Node }
  | { readonly kind: 'add'; readonly at: number; readonly name: string; readonly node: Node }
  | { readonly kind: 'remove'; readonly at: number; readonly name: string }
  | { readonly kind: 'rename'; readonly at: number; readonly name: string; readonly to: string }

export interface FolderHistory {
  readonly kind: 'folder'
  readonly moves: Move[]
  readonly syncs: Sync[]
}

export type Node = FileHistory | FolderHistory

/** A rename from one folder to another. */
export interface Crossing {
  readonly at: number
  readonly from: FolderHistory
  readonly to: FolderHistory
}

export interface History {
  readonly root: FolderHistory
  readonly operations: readonly Operation[]
  readonly crossings: readonly Crossing[]
  /** Lines that the process wrote between its operations. */
  readonly marks: readonly Extract<Operation, { kind: 'mark' }>[]
}

/** Throws for what the model does not know, so that no figure stands on something left out. */
export function historyOf(operations: readonly Operation[]): History {
  const root: FolderHistory = { kind: 'folder', moves: [], syncs: [] }
  const namespace = new Namespace(root)
  const marks: Extract<Operation, { kind: 'mark' }>[] = []
  for (const operation of operations) {
    if (operation.kind === 'mark') marks.push(operation)
    else namespace.apply(operation)
  }
  return { root, operations, crossings: namespace.crossings, marks }
}

class Namespace {
  readonly crossings: Crossing[] = []
  private readonly root: FolderHistory
  /** By the path that a node has now. */
  private readonly named = new Map<string, Node>()
  /** By inode number; a number that is given again belongs to the newer file. */
  private readonly numbered = new Map<number, Node>()

  constructor(root: FolderHistory) {
    this.root = root
  }

  apply(operation: Exclude<Operation, { kind: 'mark' }>): void {
    const { at } = operation
    switch (operation.kind) {
      case 'root':
        this.numbered.set(operation.inode, this.root)
        break
      case 'create':
        this.make(at, operation.path, operation.inode, { kind: 'file', changes: [], syncs: [] })
        break
      case 'mkdir':
        this.make(at, operation.path, operation.inode, { kind: 'folder', moves: [], syncs: [] })
        break
      case 'write':
      case 'truncate':
        this.file(operation).changes.push(operation)
        break
      case 'sync':
        known(this.numbered.get(operation.inode), operation).syncs.push(operation)
        break
      case 'unlink':
      case 'rmdir':
        this.named.delete(operation.path)
        this.move(operation.path, (name) => ({ kind: 'remove', at, name }))
        break
      case 'link':
        this.add(at, operation.to, known(this.named.get(operation.path), operation))
        break
      case 'rename':
        this.rename(operation)
        break
      default:
        operation satisfies never
    }
  }

  private make(at: number, made: string, inode: number, node: Node): void {
    this.numbered.set(inode, node)
    this.add(at, made, node)
  }

  private add(at: number, added: string, node: Node): void {
    this.named.set(added, node)
    this.move(added, (name) => ({ kind: 'add', at, name, node }))
  }

  private rename(operation: Extract<Operation, { kind: 'rename' | 'link' }>): void {
    const { at, path: from, to } = operation
    const node = known(this.named.get(from), operation)
    for (const [name, below] of [...this.named]) {
      if (name !== from && !name.startsWith(`${from}/`)) continue
      this.named.delete(name)
      this.named.set(to + name.slice(from.length), below)
    }
    if (path.dirname(from) === path.dirname(to)) {
      this.move(from, (name) => ({ kind: 'rename', at, name, to: path.basename(to) }))
      return
    }
    this.crossings.push({ at, from: this.folderOf(from), to: this.folderOf(to) })
    this.move(from, (name) => ({ kind: 'leave', at, name }))
    this.move(to, (name) => ({ kind: 'arrive', at, name, node }))
  }

  private move(moved: string, make: (name: string) => Move): void {
    this.folderOf(moved).moves.push(make(path.basename(moved)))
  }

  private folderOf(name: string): FolderHistory {
    const above = path.dirname(name)
    const folder = above === '.' ? this.root : this.named.get(above)
    if (folder?.kind !== 'folder') throw new Error(`the folder of ${name} is not known`)
    return folder
  }

  private file(operation: Change): FileHistory {
    const node = known(this.numbered.get(operation.inode), operation)
    if (node.kind !== 'file') throw new Error(`a folder is written to at ${operation.at}`)
    return node
  }
}

function known<T>(node: T | undefined, operation: Operation): T {
  if (node === undefined) throw new Error(`the ${operation.kind} at ${operation.at} has no file`)
  return node
}
