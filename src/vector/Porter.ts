/**
 * Porter's stemmer of 1980, the one of FTS5: `connection`, `connected` and `connecting` become `connect`. In the hub
 * itself, so that every engine has the same stems.
 *
 * @since 0.1.0
 */

const consonant = "(?:[^aeiouy]|(?<=^|[aeiou])y)"
const vowel = "(?:[aeiou]|(?<=[^aeiou])y)"

/** At least one, two, or exactly one pair of vowels and consonants. */
const measured = new RegExp(`${vowel}${consonant}`)
const measuredTwice = new RegExp(`${vowel}${consonant}.*?${vowel}${consonant}`)
const hasVowel = new RegExp(vowel)
const isShort = new RegExp(`^(?:.*?${consonant})?${consonant}${vowel}(?![wxy])${consonant}$`)
const doubled = /([^aeioulsz])\1$/

const isMeasured = (stem: string): boolean => measured.test(stem)
const isMeasuredTwice = (stem: string): boolean => measuredTwice.test(stem)
const endsShort = (stem: string): boolean => isShort.test(stem) && !doubled.test(stem.slice(-2))

type Rules = ReadonlyArray<readonly [suffix: string, replacement: string]>

const step2: Rules = [
  ["ational", "ate"],
  ["tional", "tion"],
  ["enci", "ence"],
  ["anci", "ance"],
  ["izer", "ize"],
  ["logi", "log"],
  ["bli", "ble"],
  ["alli", "al"],
  ["entli", "ent"],
  ["eli", "e"],
  ["ousli", "ous"],
  ["ization", "ize"],
  ["ation", "ate"],
  ["ator", "ate"],
  ["alism", "al"],
  ["iveness", "ive"],
  ["fulness", "ful"],
  ["ousness", "ous"],
  ["aliti", "al"],
  ["iviti", "ive"],
  ["biliti", "ble"]
]

const step3: Rules = [
  ["icate", "ic"],
  ["ative", ""],
  ["alize", "al"],
  ["iciti", "ic"],
  ["ical", "ic"],
  ["ful", ""],
  ["ness", ""]
]

const step4 = /(al|ance|ence|er|ic|able|ible|ant|ement|ment|ent|(?<=[st])ion|ou|ism|ate|iti|ous|ive|ize)$/

const replace = (word: string, rules: Rules): string => {
  const rule = rules.find(([suffix]) => word.endsWith(suffix))
  if (rule === undefined) return word
  const stem = word.slice(0, -rule[0].length)
  return isMeasured(stem) ? stem + rule[1] : word
}

const step1a = (word: string): string =>
  /(ss|i)es$/.test(word) ? word.slice(0, -2) : /[^s]s$/.test(word) ? word.slice(0, -1) : word

const step1b = (word: string): string => {
  if (word.endsWith("eed")) return isMeasured(word.slice(0, -3)) ? word.slice(0, -1) : word
  const stem = word.replace(/(ed|ing)$/, "")
  if (stem === word || !hasVowel.test(stem)) return word
  if (/(at|bl|iz)$/.test(stem)) return `${stem}e`
  if (doubled.test(stem)) return stem.slice(0, -1)
  return hasMeasureOne(stem) && endsShort(stem) ? `${stem}e` : stem
}

const hasMeasureOne = (stem: string): boolean => isMeasured(stem) && !isMeasuredTwice(stem)

const step4of = (word: string): string => {
  const found = step4.exec(word)
  if (found === null) return word
  const stem = word.slice(0, -found[0].length)
  return isMeasuredTwice(stem) ? stem : word
}

const step5 = (word: string): string => {
  let stem = word
  if (word.endsWith("e")) {
    const rest = word.slice(0, -1)
    if (isMeasuredTwice(rest) || (isMeasured(rest) && !endsShort(rest))) stem = rest
  }
  return stem.endsWith("ll") && isMeasuredTwice(stem.slice(0, -1)) ? stem.slice(0, -1) : stem
}

/**
 * The stem of a lower-case word; what is not an English word of three letters or more stays as it is.
 *
 * @since 0.1.0
 * @category analysis
 */
export const stem = (word: string): string => {
  if (!/^[a-z]{3,}$/.test(word)) return word
  let stemmed = step1b(step1a(word))
  if (stemmed.endsWith("y") && hasVowel.test(stemmed.slice(0, -1))) stemmed = `${stemmed.slice(0, -1)}i`
  return step5(step4of(replace(replace(stemmed, step2), step3)))
}
