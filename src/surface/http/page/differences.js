// Where answers differ: texts word by word, data member by member.

/** Words that are compared of one text; the time that takes grows with their square. */
export const MOST_WORDS = 3000;

/** A text as words, each with the white space behind it. */
export function words(text) {
  return text.match(/\s+|\S+\s*/gu) ?? [];
}

const BEGINS = /[\p{L}\p{N}]/u;
const ENDS = /[\p{L}\p{N}%°€$]/u;

/** A word without what stands around it. No pattern looks for both ends: on a line of dashes, that takes for ever. */
function plain(word) {
  const letters = [...word.trim().toLowerCase()];
  const first = letters.findIndex((letter) => BEGINS.test(letter));
  const last = letters.findLastIndex((letter) => ENDS.test(letter));
  return letters.slice(first < 0 ? letters.length : first, last + 1).join("");
}

/** For each of two texts, which of its words the other one does not have in the same place. */
export function differing(one, other) {
  const [a, b] = [words(one).map(plain), words(other).map(plain)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const [left, right] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (left.length > MOST_WORDS || right.length > MOST_WORDS) return null;
  const [onlyLeft, onlyRight] = unmatched(left, right);
  const placed = (only) => new Set([...only].map((index) => index + start));
  return [placed(onlyLeft), placed(onlyRight)];
}

/** What of either is no part of their longest common subsequence. */
function unmatched(a, b) {
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      longest[at] = a[i] === b[j] ? longest[at + width + 1] + 1 : Math.max(longest[at + width], longest[at + 1]);
    }
  }
  const [onlyA, onlyB] = [new Set(a.keys()), new Set(b.keys())];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const at = i * width + j;
    if (a[i] === b[j]) {
      onlyA.delete(i);
      onlyB.delete(j);
      i += 1;
      j += 1;
    } else if (longest[at + width] >= longest[at + 1]) i += 1;
    else j += 1;
  }
  return [onlyA, onlyB];
}

/** For each text, which of its words at least one of the others lacks in that place: all are held to the first. */
export function marks(texts) {
  const found = texts.map(() => new Set());
  for (let index = 1; index < texts.length; index += 1) {
    const pair = differing(texts[0], texts[index]);
    if (!pair) continue;
    pair[0].forEach((word) => found[0].add(word));
    pair[1].forEach((word) => found[index].add(word));
  }
  return found;
}

/** The scalars of a value by their paths, such as `items[0].price`. */
export function members(value, path = "", found = new Map()) {
  if (Array.isArray(value) && value.length > 0) value.forEach((item, index) => members(item, `${path}[${index}]`, found));
  else if (value && typeof value === "object" && Object.keys(value).length > 0) {
    for (const [name, member] of Object.entries(value)) members(member, path ? `${path}.${name}` : name, found);
  } else found.set(path || "value", scalar(value));
  return found;
}

function scalar(value) {
  return typeof value === "string" ? value.trim() : JSON.stringify(value);
}

/** The paths at which not all of these values have the same. */
export function contested(values) {
  const all = values.map((value) => members(value));
  const paths = new Set(all.flatMap((one) => [...one.keys()]));
  return new Set([...paths].filter((path) => new Set(all.map((one) => one.get(path))).size > 1));
}
