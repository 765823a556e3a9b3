/**
 * One error class and one table. A caller's question is "try again?", an operator's is "what do I
 * do?": each code answers both, so that no place has to invent its own wording.
 */
export const errorTable = {
  'config-invalid': {
    retry: 'never',
    hint: 'Correct the configuration; "sluice check" shows every fault.',
  },
  'address-in-use': {
    retry: 'never',
    hint: 'Stop the program that holds the port, or change the address.',
  },
  'address-refused': {
    retry: 'never',
    hint: 'Choose an address of this machine and a port you may bind.',
  },
  'data-dir-unusable': {
    retry: 'never',
    hint: 'Choose a folder this user may write: gateway.data_dir.',
  },
  'data-dir-locked': {
    retry: 'never',
    hint: 'Stop the other gateway, or give this one another data_dir.',
  },
  'stream-unknown': {
    retry: 'never',
    hint: '"sluice streams" lists the streams of this data directory.',
  },
  'start-invalid': {
    retry: 'never',
    hint: 'Use earliest, latest, a time back such as -10m, an ISO time, or <partition>:<offset>.',
  },
  'format-unknown': {
    retry: 'never',
    hint: 'The file was written by another version of Sluice: open it with that version.',
  },
  'record-damaged': {
    retry: 'never',
    hint: 'Keep a copy of the file and check the disk; the records after the damage can be read.',
  },
  storage: { retry: 'later', hint: 'Look at the disk: space, mount options and the kernel log.' },
} as const satisfies Record<string, { retry: 'never' | 'later'; hint: string }>

export type ErrorCode = keyof typeof errorTable

/** A trouble with a cause outside Sluice: what happened, why (`cause`), and what to do (`hint`). */
export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  get hint(): string {
    return errorTable[this.code].hint
  }

  get retry(): 'never' | 'later' {
    return errorTable[this.code].retry
  }
}

/** The message of whatever was thrown: an Error's own, otherwise its text. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** The code of a Node or SQLite error (`ENOSPC`, `SQLITE_FULL`), or undefined. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? thrown.code : undefined
}
