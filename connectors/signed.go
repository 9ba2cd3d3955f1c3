package connectors

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/tillstream/tillstream/schemas"
)

// SecretBytesMin is the shortest secret that a signature may rest on.
const SecretBytesMin = 24

// SignedBy reports whether mac is the HMAC-SHA256 of the parts, one after the other, under any of the keys: several are
// active while one is being replaced. An empty key signs nothing. Each comparison takes the same time for every mac.
func SignedBy(keys []schemas.Secret, mac []byte, parts ...[]byte) bool {
	signed := false
	for _, k := range keys {
		if k.Empty() {
			continue
		}
		h := hmac.New(sha256.New, []byte(k.Reveal()))
		for _, p := range parts {
			h.Write(p)
		}
		if hmac.Equal(h.Sum(nil), mac) {
			signed = true
		}
	}
	return signed
}
