/** How numbers are written. Pure. */

/** A time span in seconds, short: `<1 ms`, `40 ms`, `0.4 s`, `12 s`, `3 m 05 s`, `2 h 10 m`. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 0.0005) {
    return '<1 ms';
  }
  if (s < 0.0995) {
    return `${Math.round(s * 1000)} ms`;
  }
  if (s < 9.95) {
    return `${s.toFixed(1)} s`;
  }
  if (s < 60) {
    return `${Math.floor(s)} s`;
  }
  const whole = Math.floor(s);
  if (s < 3600) {
    return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`;
  }
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} m`;
}

/** How long something has gone on that still does: whole seconds, which is what is redrawn. */
export function lasting(seconds: number): string {
  if (seconds < 1) {
    return '<1 s';
  }
  return seconds < 60 ? `${Math.floor(seconds)} s` : span(seconds);
}

/** An amount of a resource; bytes for memory. */
export function amount(value: number, resource = ''): string {
  if (resource.endsWith('memory')) {
    let rest = value;
    for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
      if (rest < 1024) {
        return `${Number(rest.toFixed(1))} ${unit}`;
      }
      rest /= 1024;
    }
    return `${Number(rest.toFixed(1))} TiB`;
  }
  return String(Number(value.toFixed(4)));
}

/** `1 CPU, 2 GPU`. */
export function demand(amounts: Readonly<Record<string, number>>): string {
  return Object.entries(amounts)
    .filter(([, value]) => value > 0)
    .map(([name, value]) => `${amount(value, name)} ${name}`)
    .join(', ');
}

/** A count in full: 5,077. */
export function full(count: number): string {
  return count.toLocaleString('en-US');
}

/** What an error is called: `ValueError` of `ValueError: no`, also of one that a task has passed on. */
export function errorName(error: string): string | null {
  const name = /^(?:[\w.]*\()?([\w.]+)\)?(?::|$)/.exec(error)?.[1];
  return name?.split('.').at(-1) ?? null;
}

/** A sentence for people: begins with a capital letter. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A count that stays narrow: 999, 1.2k, 35k. */
export function short(count: number): string {
  if (count < 1000) {
    return String(count);
  }
  const thousands = count / 1000;
  return thousands < 10
    ? `${(Math.floor(thousands * 10) / 10).toFixed(1)}k`
    : `${Math.floor(thousands)}k`;
}

/** About how wide a name is, in pixels: at 11px and bold, in the widest of the usual fonts. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    width += /[mwMW@%]/.test(character)
      ? 11.2
      : /[fijltrI.,:;!'|()[\] ]/.test(character)
        ? 4.7
        : /[A-Z]/.test(character)
          ? 8.5
          : 7.5;
  }
  return width;
}

/** As `clip`, for the name of a task: of a method, the class matters less than what it does. */
export function clipName(name: string, width: number): string {
  const method = name.slice(name.lastIndexOf('.') + 1);
  const short = `…${method}`;
  const fits = textWidth(name) <= width || method === name || textWidth(short) > width;
  return fits ? clip(name, width) : short;
}

/** The text, cut so that it is not wider than `width` pixels. */
export function clip(text: string, width: number): string {
  if (textWidth(text) <= width) {
    return text;
  }
  let end = text.length - 1;
  while (end > 1 && textWidth(text.slice(0, end)) + textWidth('…') > width) {
    end--;
  }
  return `${text.slice(0, end)}…`;
}
