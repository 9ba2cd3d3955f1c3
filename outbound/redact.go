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
	email        = regexp.MustCompile(`(?i)([\p{L}\p{M}\p{N}._%+'!#$~\\-]+)(@|%40|\\u0040)([\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?)`)
)

// Redact masks secrets, e-mail addresses and phone numbers in a text for people: a log line, an error, an excerpt of a
// body. It errs on the side of masking too much.
func Redact(text string) string {
	text = secretJSON.ReplaceAllString(text, `$1"`+mask+`"`)
	text = secretHeader.ReplaceAllString(text, "${1}"+mask)
	text = secretForm.ReplaceAllString(text, "${1}${2}"+mask)
	text = scheme.ReplaceAllString(text, "${1}${2}"+mask)
	text = paypalToken.ReplaceAllString(text, mask)
	text = userinfo.ReplaceAllString(text, "${1}"+mask+"@")
	text = phoneJSON.ReplaceAllStringFunc(text, func(s string) string {
		m := phoneJSON.FindStringSubmatch(s)
		return m[1] + MaskPhone(m[2])
	})
	text = phoneForm.ReplaceAllStringFunc(text, func(s string) string {
		m := phoneForm.FindStringSubmatch(s)
		return m[1] + MaskPhone(m[2])
	})
	text = phoneE164.ReplaceAllStringFunc(text, MaskPhone)
	return email.ReplaceAllStringFunc(text, func(s string) string {
		m := email.FindStringSubmatch(s)
		return maskLocal(m[1]) + m[2] + m[3]
	})
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
