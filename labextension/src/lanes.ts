/** Where the tasks inside an opened group lie. */

/**
 * The places of the tasks inside an opened group. A task gets the next free place when it is first seen and keeps it
 * until it goes; the number of rows grows by doubling, so that what lies below seldom moves.
 */
export class Lanes {
  constructor(private _columns: number) {}

  get columns(): number {
    return this._columns;
  }

  /** Another width: the tasks keep their numbers. */
  set columns(columns: number) {
    if (columns !== this._columns) {
      this._columns = columns;
      this._rows = 2;
      this._grow();
    }
  }

  get rows(): number {
    return this._rows;
  }

  /** Gives places to those in `ids` that have none, and frees those of tasks that are gone: linear in `ids`. */
  sync(ids: Iterable<string>): void {
    const present = new Set(ids);
    for (const [id, slot] of this._slots) {
      if (!present.has(id)) {
        this._slots.delete(id);
        this._free.push(slot);
      }
    }
    this._free.sort((a, b) => b - a);
    for (const id of present) {
      if (!this._slots.has(id)) {
        this._slots.set(id, this._free.pop() ?? this._end++);
        this._ordinals.set(id, ++this._seen);
      }
    }
    for (const id of this._ordinals.keys()) {
      if (!this._slots.has(id)) {
        this._ordinals.delete(id);
      }
    }
    this._grow();
  }

  private _grow(): void {
    while (this._rows * this._columns < this._end) {
      this._rows *= 2;
    }
  }

  /** Column and row of a task. */
  cell(id: string): { column: number; row: number } | null {
    const slot = this._slots.get(id);
    return slot === undefined
      ? null
      : { column: slot % this.columns, row: Math.floor(slot / this.columns) };
  }

  /** Which one of its group a task was, counted from 1 since the group was opened. */
  ordinal(id: string): number {
    return this._ordinals.get(id) ?? 0;
  }

  private _end = 0;
  private _free: number[] = [];
  private _ordinals = new Map<string, number>();
  private _rows = 2;
  private _seen = 0;
  private _slots = new Map<string, number>();
}
