package ingest

import (
	"bytes"
	"strings"
)

// Lengths of card numbers that are issued. Older ones of 13 digits are not: ids of that length are common.
const (
	cardDigitsMin = 14
	cardDigitsMax = 19
	lastDigits    = 4 // PCI DSS 3.4.1 lets these be shown
)

// maskCardNumbers returns body with the digits of every payment card number but the last four replaced by asterisks,
// and how many there were; body itself where there are none.
//
// A card number is 14 to 19 digits of a known issuer's range that satisfy Luhn's formula, in a text: in one piece, or in
// the groups that are printed on cards, parted by a space or a dash. It is none as a JSON number, in a word or an address
// (letters, slashes or the like beside it), in an IBAN, nor as the whole value of a member whose name says id, number,
// token or the like of something else: providers' own ids are as long.
func maskCardNumbers(body []byte) (masked []byte, found int) {
	masked = body
	// What is masked can part digits that hid a number among them, so that it is looked at again.
	for left := 1; left > 0; found += left {
		masked, left = maskOnce(masked)
	}
	return masked, found
}

func maskOnce(body []byte) (masked []byte, found int) {
	masked = body
	// Every group of four digits covers one of these places, so that the others need no look.
	for i := 3; i < len(body); {
		if !digit(body[i]) {
			i += 4
			continue
		}
		start, end := numberRun(body, i)
		if end-start >= cardDigitsMin {
			for _, n := range cardsIn(body, start, end) {
				if found++; found == 1 {
					masked = bytes.Clone(body)
				}
				mask(masked[n.start:n.end])
			}
		}
		i = end + 3
	}
	return masked, found
}

func digit(c byte) bool { return c-'0' < 10 }

// numberRun is the longest piece around i of digits with single spaces or dashes between them.
func numberRun(b []byte, i int) (start, end int) {
	for start = i; start > 0; start-- {
		if !digit(b[start-1]) && !(parting(b[start-1]) && start > 1 && digit(b[start-2])) {
			break
		}
	}
	for end = i + 1; end < len(b); end++ {
		if !digit(b[end]) && !(parting(b[end]) && end+1 < len(b) && digit(b[end+1])) {
			break
		}
	}
	return start, end
}

func parting(c byte) bool { return c == ' ' || c == '-' }

type span struct{ start, end int }

// groupings are how numbers are printed on cards: digits to a group.
var groupings = [...][]int{{4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}, {4, 4, 4, 4, 3}}

// cardsIn finds the card numbers of one run.
func cardsIn(b []byte, start, end int) (out []span) {
	if !inText(b, start, end) {
		return nil
	}
	var few [32]span // what a text needs; more only where it is all numbers
	groups := few[:0]
	for at := start; at < end; {
		stop := at
		for stop < end && digit(b[stop]) {
			stop++
		}
		groups = append(groups, span{at, stop})
		at = stop + 1
	}
	for i := 0; i < len(groups); i++ {
		if g := groups[i]; g.end-g.start >= cardDigitsMin && g.end-g.start <= cardDigitsMax {
			if isCard(b[g.start:g.end]) && !namedOtherwise(b, g) {
				out = append(out, g)
			}
			continue
		}
		for _, form := range groupings {
			if i+len(form) <= len(groups) && formed(groups[i:i+len(form)], form) {
				if g := (span{groups[i].start, groups[i+len(form)-1].end}); isCard(b[g.start:g.end]) {
					out = append(out, g)
					i += len(form) - 1
					break
				}
			}
		}
	}
	return out
}

func formed(groups []span, form []int) bool {
	for i, digits := range form {
		if groups[i].end-groups[i].start != digits {
			return false
		}
	}
	return true
}

// inText reports whether what stands beside a run lets it be a number that somebody wrote down, rather than a part of a
// word, an address, a decimal or a bare JSON number.
func inText(b []byte, start, end int) bool {
	if start == 0 || end == len(b) {
		return false // outside of any JSON text
	}
	before, after := b[start-1], b[end]
	escaped := start >= 2 && b[start-2] == '\\' && strings.IndexByte("nrt", before) >= 0
	if !escaped && (wordByte(before) || strings.IndexByte(`/\_-+.=&#%@$`, before) >= 0) {
		return false
	}
	if wordByte(after) || strings.IndexByte(`/_-=&#%@`, after) >= 0 {
		return false
	}
	if after == '.' && end+1 < len(b) && digit(b[end+1]) {
		return false // a decimal
	}
	return quoted(b, start)
}

func wordByte(c byte) bool {
	return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// quoted reports whether a run that begins at start stands in a text: a bare number follows a colon, a comma or a
// bracket at once, but for white space.
func quoted(b []byte, start int) bool {
	i := start - 1
	for i >= 0 && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i--
	}
	if i < 0 {
		return false
	}
	switch b[i] {
	case ':', ',', '[':
		// In JSON what precedes these is a quote, a bracket or a value's end; in a text anything may.
		for i--; i >= 0 && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r'); i-- {
		}
		return i >= 0 && !digit(b[i]) && strings.IndexByte(`"[]{}:,`, b[i]) < 0
	}
	return true
}

// otherNames end the names of members that hold ids, which may look like card numbers.
var otherNames = []string{"id", "ids", "key", "token", "reference", "receipt", "sku", "barcode", "ean", "gtin", "isbn", "phone", "tracking_number", "order_number", "invoice_number"}

// namedOtherwise reports whether g is the whole text of a member whose name says that it is something else.
func namedOtherwise(b []byte, g span) bool {
	if b[g.start-1] != '"' || b[g.end] != '"' {
		return false
	}
	i := g.start - 2
	for i >= 0 && (b[i] == ' ' || b[i] == ':' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i--
	}
	if i < 0 || b[i] != '"' {
		return false
	}
	name := b[:i]
	name = bytes.ToLower(name[bytes.LastIndexByte(name, '"')+1:])
	for _, other := range otherNames {
		if bytes.HasSuffix(name, []byte(other)) {
			return true
		}
	}
	return false
}

// isCard checks issuer, length and check digit of a number, whatever parts its digits.
func isCard(text []byte) bool {
	var d [cardDigitsMax]byte
	n := 0
	for _, c := range text {
		if !digit(c) {
			continue
		}
		if n == len(d) {
			return false
		}
		d[n] = c - '0'
		n++
	}
	return n >= cardDigitsMin && issued(d[:n]) && luhn(d[:n])
}

// issued reports whether an issuer has numbers of this beginning and length (ISO/IEC 7812 ranges of the large networks).
func issued(d []byte) bool {
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	switch n := len(d); {
	case d[0] == 4: // Visa
		return n == 16 || n == 19
	case two >= 51 && two <= 55 || four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34 || two == 37: // American Express
		return n == 15
	case four == 6011 || two == 65 || four >= 6440 && four <= 6499: // Discover
		return n == 16 || n == 19
	case four >= 3528 && four <= 3589: // JCB
		return n == 16 || n == 19
	case two == 36 || two == 38 || two == 39 || four >= 3000 && four <= 3059: // Diners Club
		return n == 14
	case two == 62: // UnionPay
		return n >= 16
	}
	return false
}

func luhn(d []byte) bool {
	sum, double := 0, false
	for i := len(d) - 1; i >= 0; i-- {
		v := int(d[i])
		if double {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum, double = sum+v, !double
	}
	return sum%10 == 0
}

// mask replaces all digits of a number but the last four.
func mask(text []byte) {
	left := lastDigits
	for i := len(text) - 1; i >= 0; i-- {
		if digit(text[i]) {
			if left--; left < 0 {
				text[i] = '*'
			}
		}
	}
}
