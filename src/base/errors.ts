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
  'access-invalid': {
    retry: 'never',
    hint: 'Correct the file or its name; SIGHUP reads it again. "sluice passwd" writes passwords.',
  },
  'tls-invalid': {
    retry: 'never',
    hint: 'Correct the file or its name under tls; the key must be the one of the certificate.',
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
  'cursor-unknown': {
    retry: 'never',
    hint: '"sluice cursors" lists the cursors of this data directory.',
  },
  'state-damaged': {
    retry: 'never',
    hint: 'Keep a copy of state.db and check the disk; "sluice verify-log" says what can be kept.',
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
  'folder-refused': {
    retry: 'never',
    hint: 'Name a new or an empty folder, or for a backup one with a backup of the same gateway.',
  },
  'no-backup': {
    retry: 'never',
    hint: 'Name the folder of a backup that "sluice backup" has finished.',
  },
  'backup-damaged': {
    retry: 'never',
    hint: 'Use another backup; with --no-verify files are restored as they are.',
  },
  'log-closed': {
    retry: 'later',
    hint: 'The gateway is stopping: ask again once it has been started.',
  },
  'stream-out-of-service': {
    retry: 'later',
    hint: 'Free space or mend the disk, then start again; "sluice verify-log" checks the files.',
  },
  'queue-unknown': {
    retry: 'never',
    hint: '"sluice queues" lists the queues; a [[queue]] names its dead_letter itself.',
  },
  'bridge-unknown': {
    retry: 'never',
    hint: '"sluice bridge status" lists the bridges and what they forward.',
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
