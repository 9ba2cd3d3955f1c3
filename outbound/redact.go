package outbound

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const mask = "***"

// secretNames are members, form fields and headers whose value is never shown. "key" is ActiveCampaign's event key.
const secretNames = `access_token|refresh_token|id_token|token|api[_-]?token|api[_-]?key|apikey|eventkey|key|client_secret|secret|` +
	`password|passwd|nonce|authorization|proxy-authorization|x-auth-token|x-api-key|cookie|set-cookie|` +
	`paypal-auth-assertion|paypal-transmission-sig|transmission_sig`

const phoneNames = `phone|phone_number|national_number|telephone|mobile|payer_phone`

// A value may be cut off (no closing quote): it is masked all the same.
var (
	secretJSON   = regexp.MustCompile(`(?i)(\\?"(?:` + secretNames + `)\\?"\s*:\s*)(?:\\?"(?:[^"\\]|\\[^"])*(?:\\?"|$)|[0-9][0-9a-zA-Z.+-]*)`)
	secretHeader = regexp.MustCompile(`(?im)^(\s*(?:api-token|authorization|proxy-authorization|x-auth-token|x-api-key|cookie|set-cookie|paypal-auth-assertion|paypal-transmission-sig)\s*:\s*)\S.*$`)
	secretForm   = regexp.MustCompile(`(?i)(^|[?&;\s"'])((?:` + secretNames + `)=)[^&;\s"']*`)
	scheme       = regexp.MustCompile(`(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+|\b(basic\s+)[A-Za-z0-9+/]{8,}=*`)
	paypalToken  = regexp.MustCompile(`\bA(?:21AA|101\.)[A-Za-z0-9._-]{8,}`)
	userinfo     = regexp.MustCompile(`(://)[^/?#@\s"']+@`)
	phoneJSON    = regexp.MustCompile(`(?i)(\\?"(?:` + phoneNames + `)\\?"\s*:\s*\\?")([^"\\{\[]*)`)
	phoneForm    = regexp.MustCompile(`(?i)((?:^|[?&;\s])(?:` + phoneNames + `|contact\[phone\])=)([^&;\s"']*)`)
	phoneE164    = regexp.MustCompile(`(?i)(?:\+|%2B)[1-9][0-9](?:[\s().-]{0,2}[0-9]){5,13}`)
)

// Words without which a pattern cannot match: most texts hold none, and looking for a word is a hundred times faster.
var (
	secretWords = []string{"token", "key", "secret", "passw", "nonce", "authorization", "cookie", "assertion", "transmission", "bearer", "basic"}
	phoneWords  = []string{"phone", "number", "mobile"}
	headerWords = []string{"api-token", "authorization", "x-auth-token", "x-api-key", "cookie", "paypal-auth-assertion", "paypal-transmission-sig"}
	ats         = []string{"@", "%40", `\u0040`}
)

// Redact masks secrets, e-mail addresses and phone numbers in a text for people: a log line, an error, an excerpt of a
// body. It errs on the side of masking too much.
func Redact(text string) string {
	lower := strings.ToLower(text)
	plain := !strings.Contains(text, "\u017f") && !strings.Contains(text, "\u212a") // the letters beyond ASCII that (?i) takes for an s or a k
	if !plain || containsAny(lower, secretWords) {
		text = maskSecrets(text, lower, plain)
	}
	if strings.Contains(text, "A21AA") || strings.Contains(text, "A101.") {
		text = paypalToken.ReplaceAllString(text, mask)
	}
	if strings.Contains(text, "://") && strings.Contains(text, "@") {
		text = userinfo.ReplaceAllString(text, "${1}"+mask+"@")
	}
	if !plain || containsAny(lower, phoneWords) {
		if plain {
			text = scanForm(scanJSON(text, phoneSet, phoneMember), phoneSet, " \t\n\f\r?&;", MaskPhone)
		} else {
			text = replaceSecond(phoneForm, replaceSecond(phoneJSON, text, MaskPhone), MaskPhone)
		}
	}
	if mayBeE164(text, lower) {
		text = phoneE164.ReplaceAllStringFunc(text, MaskPhone)
	}
	return maskEmails(text)
}

func containsAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// replaceSecond replaces the second group of each match and keeps the first.
func replaceSecond(re *regexp.Regexp, text string, f func(string) string) string {
	return re.ReplaceAllStringFunc(text, func(s string) string {
		m := re.FindStringSubmatch(s)
		return m[1] + f(m[2])
	})
}

// maskEmails masks whatever stands before an at sign, also one that is escaped for a URL or JSON.
func maskEmails(text string) string {
	var out strings.Builder
	for {
		at, sign := nextAt(text)
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		start := at
		for start > 0 {
			r, size := utf8.DecodeLastRuneInString(text[:start])
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(`._%+'!#$~\-`, r) {
				break
			}
			start -= size
		}
		end := at + len(sign)
		out.WriteString(text[:start])
		if next, _ := utf8.DecodeRuneInString(text[end:]); start < at && (unicode.IsLetter(next) || unicode.IsDigit(next)) {
			out.WriteString(maskLocal(text[start:at]))
		} else {
			out.WriteString(text[start:at])
		}
		out.WriteString(text[at:end])
		text = text[end:]
	}
}

func nextAt(text string) (at int, sign string) {
	at = -1
	for _, s := range ats {
		if i := strings.Index(text, s); i >= 0 && (at < 0 || i < at) {
			at, sign = i, s
		}
	}
	return at, sign
}

// MaskEmail turns jane@example.com into j***@example.com. A text without @ becomes ***.
func MaskEmail(address string) string {
	local, domain, ok := strings.Cut(strings.TrimSpace(address), "@")
	if !ok {
		return mask
	}
	return maskLocal(local) + "@" + domain
}

// MaskPhone keeps the last two digits: +491701234567 becomes ***67. An empty text stays empty.
func MaskPhone(number string) string {
	number = strings.TrimSpace(number)
	if number == "" {
		return ""
	}
	if len(number) < 5 {
		return mask
	}
	tail := number[len(number)-2:]
	if strings.Trim(tail, "0123456789") != "" {
		return mask
	}
	return mask + tail
}

func maskLocal(local string) string {
	r, size := utf8.DecodeRuneInString(local)
	if size == len(local) || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
		return mask
	}
	return local[:size] + mask
}
