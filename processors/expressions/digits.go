package expressions

import (
	"strings"
	"unicode"
)

// Names of the catalogue may have parts that begin with a digit, as order.items.1.name has, which the language reads as
// numbers. For the parser such digits become other letters, one for one so that places stay what they are.
const letterZero = '\uFF41' // a fullwidth a; the nine after it follow

// hideDigits changes the digits at the beginning of a name's later parts. Quoted texts and remarks stay as they are.
func hideDigits(text string) string {
	if !strings.Contains(text, ".") {
		return text
	}
	runes := []rune(text)
	for i := 0; i < len(runes); {
		switch r := runes[i]; {
		case r == '"' || r == '\'' || r == '`':
			i = behindQuote(runes, i)
		case r == '/' && i+1 < len(runes) && (runes[i+1] == '/' || runes[i+1] == '*'):
			i = behindRemark(runes, i)
		case isWord(r) && !unicode.IsDigit(r):
			i = behindName(runes, i)
		case isWord(r): // a number, with its point
			for i < len(runes) && (isWord(runes[i]) || runes[i] == '.') {
				i++
			}
		default:
			i++
		}
	}
	return string(runes)
}

func isWord(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// behindName is where the name at i ends; digits behind its points are hidden.
func behindName(runes []rune, i int) int {
	for i < len(runes) {
		switch {
		case isWord(runes[i]):
			i++
		case runes[i] == '.' && i+1 < len(runes) && isWord(runes[i+1]):
			i++
			for ; i < len(runes) && runes[i] >= '0' && runes[i] <= '9'; i++ {
				runes[i] += letterZero - '0'
			}
		default:
			return i
		}
	}
	return i
}

func behindQuote(runes []rune, i int) int {
	quote := runes[i]
	for i++; i < len(runes); i++ {
		if runes[i] == '\\' && quote != '`' {
			i++
		} else if runes[i] == quote {
			return i + 1
		}
	}
	return len(runes)
}

func behindRemark(runes []rune, i int) int {
	line := runes[i+1] == '/'
	for i += 2; i < len(runes); i++ {
		if line && runes[i] == '\n' || !line && runes[i-1] == '*' && runes[i] == '/' {
			return i + 1
		}
	}
	return len(runes)
}

// showDigits undoes hideDigits in a name or a message.
func showDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= letterZero && r <= letterZero+9 {
			return r - letterZero + '0'
		}
		return r
	}, text)
}
