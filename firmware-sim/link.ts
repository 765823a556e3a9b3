/**
 * The fleet's view of its broker, in sentences. A thousand devices that lose one broker are one
 * piece of news: a sentence per change of state, and per distinct trouble until the next change.
 */

/**
 * Distinct troubles told between two changes of state; later ones are counted in the status line.
 */
const troublesToldMax = 8

export class LinkWatch {
  private readonly broker: string
  private readonly say: (line: string) => void
  private state: 'starting' | 'up' | 'down' = 'starting'
  private connected = 0
  private readonly told = new Set<string>()

  constructor(broker: string, say: (line: string) => void) {
    this.broker = broker
    this.say = say
  }

  get connectedCount(): number {
    return this.connected
  }

  deviceConnected(): void {
    this.connected += 1
    if (this.state !== 'up') this.enter('up', `connected to ${this.broker}`)
  }

  /** `wanted` is a device that ends its own connection, which is no news. */
  deviceDisconnected(wanted: boolean): void {
    this.connected -= 1
    if (!wanted && this.connected === 0 && this.state === 'up') {
      this.enter('down', `lost the broker at ${this.broker}; trying again until it is back`)
    }
  }

  /**
   * A connection that failed, or one message the broker refused. `network` is for troubles that say
   * no more than that nobody is there: while the broker is known to be away they are no news.
   */
  trouble(device: string, reason: string, network: boolean): void {
    if (this.connected === 0 && this.state === 'starting') {
      this.told.add(reason)
      this.enter(
        'down',
        `no broker answers at ${this.broker} (${reason}); trying again until one does`,
        reason,
      )
      return
    }
    if (network && this.state === 'down') return
    if (this.told.has(reason) || this.told.size >= troublesToldMax) return
    this.told.add(reason)
    this.say(`${device}: ${reason} (said once; the status line counts them)`)
  }

  private enter(state: 'up' | 'down', sentence: string, toldAlready?: string): void {
    this.state = state
    this.told.clear()
    if (toldAlready !== undefined) this.told.add(toldAlready)
    this.say(sentence)
  }
}
