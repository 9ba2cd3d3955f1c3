package outbound

import (
	"regexp"
	"strings"
)

// The patterns of secrets and phone numbers say what is masked. To try them at each place of a text costs more than the
// request that it belongs to, so the functions here find the few places where a pattern can match. FuzzScan holds them
// to what the patterns do.

var (
	secretSet = nameSet(secretNames)
	phoneSet  = nameSet(phoneNames)
	// secretMember is secretJSON where a member is known to begin.
	secretMember = regexp.MustCompile(`\A` + secretJSON.String())
)

const nameBytesMax = 32 // more than the longest name has

// nameSet takes alternatives apart.
func nameSet(names string) map[string]bool {
	set := map[string]bool{}
	for name := range strings.SplitSeq(names, "|") {
		if !strings.Contains(name, "[_-]?") {
			set[name] = true
			continue
		}
		for _, between := range []string{"", "_", "-"} {
			set[strings.Replace(name, "[_-]?", between, 1)] = true
		}
	}
	return set
}

// maskSecrets masks what is named as a secret. plain: the text has no letter that only (?i) takes for one of a name.
func maskSecrets(text, lower string, plain bool) string {
	if plain {
		text = scanJSON(text, secretSet, secretMemberMasked)
	} else {
		text = secretJSON.ReplaceAllString(text, `$1"`+mask+`"`)
	}
	if !plain || containsAny(lower, headerWords) {
		text = secretHeader.ReplaceAllString(text, "${1}"+mask)
	}
	if plain {
		text = scanForm(text, secretSet, " \t\n\f\r?&;\"'", func(string) string { return mask })
	} else {
		text = secretForm.ReplaceAllString(text, "${1}${2}"+mask)
	}
	if !plain || strings.Contains(lower, "bearer") || strings.Contains(lower, "basic") {
		text = scheme.ReplaceAllString(text, "${1}${2}"+mask)
	}
	return text
}

// scanJSON calls member with the text from each member on that has one of the names, at the quote before its name or the
// backslash before that. member returns what to put in place of how many bytes; none: it does not match.
func scanJSON(text string, names map[string]bool, member func(text string, name int) (bytes int, masked string)) string {
	var out strings.Builder
	done := 0
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '"')
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		end := at
		for end < len(text) && end-at < nameBytesMax && inName(text[end]) {
			end++
		}
		if end == at || end == len(text) || text[end] != '"' && text[end] != '\\' || !names[strings.ToLower(text[at:end])] {
			continue
		}
		from := i
		if i > done && text[i-1] == '\\' {
			from--
		}
		if n, masked := member(text[from:], end-from); n > 0 {
			out.WriteString(text[done:from])
			out.WriteString(masked)
			done = from + n
			at = done
		}
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

func secretMemberMasked(text string, _ int) (int, string) {
	m := secretMember.FindStringSubmatchIndex(text)
	if m == nil {
		return 0, ""
	}
	return m[1], text[m[2]:m[3]] + `"` + mask + `"`
}

// phoneMember is phoneJSON where a member is known to begin; name is where its name ends.
func phoneMember(text string, name int) (int, string) {
	rest := strings.TrimPrefix(text[name:], `\`)
	rest, ok := strings.CutPrefix(rest, `"`)
	if !ok {
		return 0, ""
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t\n\f\r"), ":")
	if !ok {
		return 0, ""
	}
	rest, ok = strings.CutPrefix(strings.TrimPrefix(strings.TrimLeft(rest, " \t\n\f\r"), `\`), `"`)
	if !ok {
		return 0, ""
	}
	value := len(rest)
	if end := strings.IndexAny(rest, "\"\\{["); end >= 0 {
		value = end
	}
	head := len(text) - len(rest)
	return head + value, text[:head] + MaskPhone(rest[:value])
}

// scanForm masks the values of the form fields that have one of the names, at the text's beginning or after one of the
// bytes of before. Phones may also be written contact[phone].
func scanForm(text string, names map[string]bool, before string, masked func(string) string) string {
	var out strings.Builder
	done := 0
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '=')
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		from := i
		for from > done && i-from <= nameBytesMax && (inName(text[from-1]) || text[from-1] == '[' || text[from-1] == ']') {
			from--
		}
		name := strings.ToLower(text[from:i])
		if !names[name] && (name != "contact[phone]" || !names["phone"]) {
			continue
		}
		if from > 0 && (from == done || strings.IndexByte(before, text[from-1]) < 0) {
			continue // the byte before is no border, or belongs to what was masked last
		}
		end := len(text)
		if n := strings.IndexAny(text[at:], "&; \t\n\f\r\"'"); n >= 0 {
			end = at + n
		}
		out.WriteString(text[done:at])
		out.WriteString(masked(text[at:end]))
		done, at = end, end
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

// inName reports whether b can be in the name of a secret or a phone.
func inName(b byte) bool {
	return b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b == '-'
}

// mayBeE164 reports whether two digits follow a plus sign, which is what such a number begins with.
func mayBeE164(text, lower string) bool {
	for _, plus := range []string{"+", "%2b"} {
		rest := text
		if plus != "+" {
			rest = lower
		}
		for {
			_, after, ok := strings.Cut(rest, plus)
			if !ok {
				break
			}
			if len(after) > 1 && after[0] >= '1' && after[0] <= '9' && after[1] >= '0' && after[1] <= '9' {
				return true
			}
			rest = after
		}
	}
	return false
}
