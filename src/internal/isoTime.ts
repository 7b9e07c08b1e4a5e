/**
 * Moments in the form of `Date.prototype.toISOString`, as milliseconds since 1970 and back: like `Date`, but only for
 * text in exactly that form, and many times as fast.
 *
 * Days and civil dates are converted as by H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
 */

const digit = (text: string, at: number): number => {
  const value = text.charCodeAt(at) - 48
  // Anything else makes the sum too large to be right.
  return value >= 0 && value <= 9 ? value : 1e9
}

const two = (text: string, at: number): number => digit(text, at) * 10 + digit(text, at + 1)

const monthDays = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

/** Years 0 to 9999. */
const daysFromCivil = (year: number, month: number, day: number): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

/** The days of `YYYY-MM-DD` at the beginning of a text, or `undefined` when there is no such date. */
export const daysOf = (text: string): number | undefined => {
  if (text.charCodeAt(4) !== 0x2d || text.charCodeAt(7) !== 0x2d) return undefined
  const year = two(text, 0) * 100 + two(text, 2)
  const month = two(text, 5)
  const day = two(text, 8)
  if (year > 9999 || month < 1 || month > 12 || day < 1 || day > monthDays[month - 1]!) return undefined
  return month === 2 && day === 29 && !isLeap(year) ? undefined : daysFromCivil(year, month, day)
}

const dayMillis = 86_400_000

/** `undefined` for anything but `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
export const millisOf = (text: string): number | undefined => {
  if (text.length !== 24 || text.charCodeAt(10) !== 0x54 || text.charCodeAt(23) !== 0x5a) return undefined
  if (text.charCodeAt(13) !== 0x3a || text.charCodeAt(16) !== 0x3a || text.charCodeAt(19) !== 0x2e) return undefined
  const days = daysOf(text)
  const hours = two(text, 11)
  const minutes = two(text, 14)
  const seconds = two(text, 17)
  const millis = digit(text, 20) * 100 + two(text, 21)
  if (days === undefined || hours > 23 || minutes > 59 || seconds > 59 || millis > 999) return undefined
  return days * dayMillis + hours * 3_600_000 + minutes * 60_000 + seconds * 1000 + millis
}

const pairs = Array.from({ length: 100 }, (_, value) => String(value).padStart(2, "0"))

/** `YYYY-MM-DD`; `undefined` beyond the years 0 to 9999. */
export const dateOf = (days: number): string | undefined => {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  if (year < 0 || year > 9999) return undefined
  return `${pairs[Math.floor(year / 100)]}${pairs[year % 100]}-${pairs[month]}-${pairs[day]}`
}

// Documents of one time tend to be read together.
const rememberedDays = new Int32Array(256).fill(-0x80000000)
const rememberedDates: Array<string> = []

const dateOfDay = (days: number): string | undefined => {
  const slot = days & 255
  if (rememberedDays[slot] === days) return rememberedDates[slot]
  const date = dateOf(days)
  if (date !== undefined) {
    rememberedDays[slot] = days
    rememberedDates[slot] = date
  }
  return date
}

const firstMillis = daysFromCivil(0, 1, 1) * dayMillis
const lastMillis = (daysFromCivil(9999, 12, 31) + 1) * dayMillis - 1

/** Whether a whole number of milliseconds has a text: the years 0 to 9999. */
export const hasIso = (millis: number): boolean => millis >= firstMillis && millis <= lastMillis

export const isoOf = (millis: number): string | undefined => {
  const days = Math.floor(millis / dayMillis)
  const date = dateOfDay(days)
  if (date === undefined) return undefined
  const rest = millis - days * dayMillis
  const thousandths = rest % 1000
  return `${date}T${pairs[Math.floor(rest / 3_600_000)]}:${pairs[Math.floor(rest / 60_000) % 60]}:${pairs[Math.floor(rest / 1000) % 60]}.${Math.floor(thousandths / 100)}${pairs[thousandths % 100]}Z`
}
