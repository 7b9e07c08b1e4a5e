/** Analysers of languages: words that tell nothing are left out, endings are taken away. */
import type { Analyser } from "./analysis.ts"

export const english: Analyser = {
  language: "en",
  stemmer: "english",
  stopWords:
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it its me my no not of on or our she so such that the their them then there these they this those to too up us very was we were what when where which who will with would you your".split(
      " "
    )
}

export const portuguese: Analyser = {
  language: "pt",
  stemmer: "portuguese",
  stopWords:
    "a à ao aos as às até com como da das de dela dele deles depois do dos e é ela elas ele eles em entre era essa esse esta está este eu foi há isso isto já lhe mais mas me mesmo meu minha muito na não nas nem no nos nós nossa nosso num numa o os ou para pela pelas pelo pelos por qual quando que quem são se sem ser seu seus só sua suas também te tem um uma você vocês".split(
      " "
    )
}

export const spanish: Analyser = {
  language: "es",
  stemmer: "spanish",
  stopWords:
    "a al algo ante antes aquel aquella con como cual cuando de del desde donde durante e el él ella ellas ellos en entre era es esa ese eso esta está este esto estos fue ha han hasta hay la las le les lo los más me mi mis mucho muy nada ni no nos nosotros o os otra otro para pero por porque que qué quien se ser sí sin sobre son su sus también te tiene tu un una uno unos y ya yo".split(
      " "
    )
}

export const german: Analyser = {
  language: "de",
  stemmer: "german",
  stopWords:
    "aber alle als also am an auch auf aus bei bin bis da damit dann das dass dein dem den der des die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es für hat hatte hier ich ihr ihre im in ist ja kann kein keine man mein mit nach nicht noch nur ob oder ohne sehr sein seine sich sie sind so über um und uns unser vom von vor war waren was weil wenn wer werden wie wir wird wo zu zum zur".split(
      " "
    )
}

export const french: Analyser = {
  language: "fr",
  stemmer: "french",
  stopWords:
    "à ai au aux avec ce ces cette comme dans de des du elle elles en est et été être eu eux il ils je la le les leur leurs lui ma mais me même mes moi mon ne nos notre nous on ou où par pas pour qu que qui sa sans se ses si son sont sur ta te tes toi ton tu un une vos votre vous y".split(
      " "
    )
}
