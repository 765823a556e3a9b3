/** The configuration of a gateway with streams of its own, as TOML. */

type Settings = Readonly<Record<string, string | number>>

/** A stream by its name, `plant` with `plant/#`; "rest" takes what is left. Keys may have dots. */
export interface TomlStream {
  readonly name: string
  readonly settings?: Settings
}

/** `disk`: settings of that table. Streams stand in the order in which they take messages. */
export function gatewayConfig(disk: Settings, streams: readonly TomlStream[]): string {
  const lines = ['[disk]', ...linesOf(disk)]
  for (const { name, settings = {} } of streams) {
    const topics = JSON.stringify([name === 'rest' ? '#' : `${name}/#`])
    lines.push('', '[[stream]]', `name = "${name}"`, `topics = ${topics}`, ...linesOf(settings))
  }
  return `${lines.join('\n')}\n`
}

function linesOf(settings: Settings): string[] {
  return Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
}
