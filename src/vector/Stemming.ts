/**
 * Stemmers and function words of languages other than English: those of Snowball.
 *
 * Their versions are fixed, since stems are stored: another one may find less of what is there.
 *
 * @since 0.1.0
 */
import * as danish from "@orama/stemmers/danish"
import * as dutch from "@orama/stemmers/dutch"
import * as finnish from "@orama/stemmers/finnish"
import * as french from "@orama/stemmers/french"
import * as german from "@orama/stemmers/german"
import * as hungarian from "@orama/stemmers/hungarian"
import * as italian from "@orama/stemmers/italian"
import * as norwegian from "@orama/stemmers/norwegian"
import * as portuguese from "@orama/stemmers/portuguese"
import * as romanian from "@orama/stemmers/romanian"
import * as russian from "@orama/stemmers/russian"
import * as spanish from "@orama/stemmers/spanish"
import * as swedish from "@orama/stemmers/swedish"
import { stopwords as danishWords } from "@orama/stopwords/danish"
import { stopwords as dutchWords } from "@orama/stopwords/dutch"
import { stopwords as finnishWords } from "@orama/stopwords/finnish"
import { stopwords as frenchWords } from "@orama/stopwords/french"
import { stopwords as germanWords } from "@orama/stopwords/german"
import { stopwords as hungarianWords } from "@orama/stopwords/hungarian"
import { stopwords as italianWords } from "@orama/stopwords/italian"
import { stopwords as norwegianWords } from "@orama/stopwords/norwegian"
import { stopwords as portugueseWords } from "@orama/stopwords/portuguese"
import { stopwords as romanianWords } from "@orama/stopwords/romanian"
import { stopwords as russianWords } from "@orama/stopwords/russian"
import { stopwords as spanishWords } from "@orama/stopwords/spanish"
import { stopwords as swedishWords } from "@orama/stopwords/swedish"

/**
 * A language with a stemmer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stemmer {
  /** The stem of a word in lower case, with its accents. */
  readonly stem: (word: string) => string
  /** Words that say how a sentence is built, not what it is about. */
  readonly grammar: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category constants
 */
export const stemmers = {
  danish: { stem: danish.stemmer, grammar: danishWords },
  dutch: { stem: dutch.stemmer, grammar: dutchWords },
  finnish: { stem: finnish.stemmer, grammar: finnishWords },
  french: { stem: french.stemmer, grammar: frenchWords },
  german: { stem: german.stemmer, grammar: germanWords },
  hungarian: { stem: hungarian.stemmer, grammar: hungarianWords },
  italian: { stem: italian.stemmer, grammar: italianWords },
  norwegian: { stem: norwegian.stemmer, grammar: norwegianWords },
  portuguese: { stem: portuguese.stemmer, grammar: portugueseWords },
  romanian: { stem: romanian.stemmer, grammar: romanianWords },
  russian: { stem: russian.stemmer, grammar: russianWords },
  spanish: { stem: spanish.stemmer, grammar: spanishWords },
  swedish: { stem: swedish.stemmer, grammar: swedishWords }
} satisfies Readonly<Record<string, Stemmer>>
