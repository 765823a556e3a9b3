/**
 * The beginning of a journal that goes on from a disk image: notes that make the image, all of it
 * durable, and the marks that stand before. So one recording can go through several power losses,
 * and what a start does to a damaged disk is cut in its turn.
 */
import fs from 'node:fs'
import path from 'node:path'
import { encodeNote } from './journal.ts'

/** The mark behind a prelude: no cut comes before the last one. */
export const BEGIN = 'begin'

export function writePrelude(journal: string, disk: string, lines: readonly string[]): void {
  const notes: Buffer[] = []
  let at = 0
  const add = (note: Buffer): void => {
    notes.push(note)
    at += note.length
  }
  const sync = (inode: number): void => add(encodeNote('sync', inode, at))
  const inodeOf = (file: string): number => fs.statSync(file).ino
  const addFolder = (folder: string): void => {
    for (const name of fs.readdirSync(folder)) {
      const file = path.join(folder, name)
      const isFolder = fs.statSync(file).isDirectory()
      const below = Buffer.from(path.relative(disk, file))
      add(encodeNote(isFolder ? 'mkdir' : 'create', inodeOf(file), 0, below))
      if (isFolder) {
        addFolder(file)
      } else {
        add(encodeNote('write', inodeOf(file), 0, fs.readFileSync(file)))
        sync(inodeOf(file))
      }
    }
    sync(inodeOf(folder))
  }
  add(encodeNote('root', inodeOf(disk), 0))
  addFolder(disk)
  for (const line of [...lines, BEGIN]) add(encodeNote('mark', 0, 0, Buffer.from(`${line}\n`)))
  fs.writeFileSync(journal, Buffer.concat(notes))
}
