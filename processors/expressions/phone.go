package expressions

import (
	"hash/crc32"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// buildPhone takes a country to assume where the payer's is not known.
func buildPhone(args []string, _ map[string]string) (step, *ChainError) {
	if len(args) > 1 || len(args) == 1 && !isCountry(args[0]) {
		return step{}, &ChainError{"phone takes one country at most", "write for example phone DE"}
	}
	assumed := ""
	if len(args) == 1 {
		assumed = regionOf(args[0])
	}
	return step{name: "phone", from: []Kind{Text, Phone}, to: Phone, needs: []string{sourceCountry}, run: func(v string, values Values) (string, string) {
		region := regionOf(values.Text(sourceCountry))
		if region == "" {
			region = assumed
		}
		return phone(v, region), ""
	}}, nil
}

// phone is e164, which takes a dozen regular expressions: the numbers written last are remembered, since the events of
// one order carry the same number and follow each other.
func phone(v, region string) string {
	if len(v) > phoneBytesMax {
		return e164(v, region)
	}
	place := &phones[crc32.Update(crc32.ChecksumIEEE([]byte(v)), crc32.IEEETable, []byte(region))%phonesKept]
	if known := place.Load(); known != nil && known.value == v && known.region == region {
		return known.result
	}
	result := e164(v, region)
	place.Store(&writtenPhone{strings.Clone(v), strings.Clone(region), strings.Clone(result)})
	return result
}

type writtenPhone struct{ value, region, result string }

const (
	phonesKept    = 1024
	phoneBytesMax = 40 // a longer text is no number, and is not remembered
)

var phones [phonesKept]atomic.Pointer[writtenPhone]

// e164 writes a number in E.164. Without a usable country the digits stay as they are: PayPal gives national numbers
// only, and a guessed country would reach a stranger.
func e164(v, region string) string {
	if n, err := phonenumbers.Parse(v, region); err == nil && phonenumbers.IsValidNumber(n) {
		return phonenumbers.Format(n, phonenumbers.E164)
	}
	number := digits(v)
	if strings.HasPrefix(strings.TrimSpace(v), "+") && number != "" {
		return "+" + number
	}
	return number
}

func isCountry(code string) bool {
	return len(code) == 2 && strings.IndexFunc(code, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) }) < 0
}

// regionOf is an ISO 3166 code; PayPal writes C2 for China outside its domestic site.
func regionOf(code string) string {
	code = strings.ToUpper(strings.TrimSpace(code))
	if code == "C2" {
		return "CN"
	}
	if !isCountry(code) {
		return ""
	}
	return code
}
