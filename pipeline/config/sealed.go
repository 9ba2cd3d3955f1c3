package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"filippo.io/age"
)

// A secret may stand in a file encrypted with age, as SealedPrefix and base64. Who runs the process holds the key.
const (
	SealedPrefix = "age:"
	// KeyVariable holds identities (AGE-SECRET-KEY-1...), KeyFileVariable names a file of them: one or several, separated by
	// spaces or lines, each tried in turn, so that a new key is added before the old one goes.
	KeyVariable     = "TILLSTREAM_AGE_KEY"
	KeyFileVariable = "TILLSTREAM_AGE_KEY_FILE"
)

// Bounds of what is sealed.
const (
	sealedBytesMax = 64 << 10 // a secret in clear
	identitiesMax  = 20
)

// ErrNoKey is returned where a sealed secret is met and no identity is known.
var ErrNoKey = errors.New("is encrypted and no key is known; set " + KeyVariable + " or " + KeyFileVariable)

// Identities reads the keys that the environment names; none is no error.
func Identities(getenv func(string) (string, bool)) ([]age.Identity, error) {
	if getenv == nil {
		return nil, nil
	}
	var texts []string
	if text, ok := getenv(KeyVariable); ok {
		texts = append(texts, text)
	}
	if file, ok := getenv(KeyFileVariable); ok && file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("the key file of %s can't be read: %w", KeyFileVariable, err)
		}
		texts = append(texts, string(b))
	}
	return ParseIdentities(strings.Join(texts, "\n"))
}

// ParseIdentities reads keys that are separated by spaces or lines; what follows # is a comment.
func ParseIdentities(text string) ([]age.Identity, error) {
	var list []age.Identity
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\n' || r == '\r' }) {
			id, err := age.ParseX25519Identity(word)
			if err != nil {
				return nil, fmt.Errorf("the key number %d of %s is none: it begins with AGE-SECRET-KEY-1", len(list)+1, KeyVariable) // never its text
			}
			if list = append(list, id); len(list) > identitiesMax {
				return nil, fmt.Errorf("more than %d keys in %s", identitiesMax, KeyVariable)
			}
		}
	}
	return list, nil
}

// ParseRecipients reads public keys (age1...).
func ParseRecipients(words []string) ([]age.Recipient, error) {
	var list []age.Recipient
	for _, w := range words {
		r, err := age.ParseX25519Recipient(strings.TrimSpace(w))
		if err != nil {
			return nil, fmt.Errorf("%q is no public key: %w; it begins with age1", w, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// RecipientsOf are the public halves of identities.
func RecipientsOf(list []age.Identity) (out []age.Recipient) {
	for _, id := range list {
		if x, ok := id.(*age.X25519Identity); ok {
			out = append(out, x.Recipient())
		}
	}
	return out
}

// Seal encrypts a secret so that any of the recipients opens it.
func Seal(secret string, to []age.Recipient) (string, error) {
	if len(to) == 0 {
		return "", errors.New("nobody could open it: name a public key, or set " + KeyVariable)
	}
	if len(secret) > sealedBytesMax {
		return "", fmt.Errorf("a secret of more than %d bytes", sealedBytesMax)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err == nil {
		_, err = io.WriteString(w, secret)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", fmt.Errorf("encrypt the secret: %w", err)
	}
	return SealedPrefix + base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// Sealed reports whether a text is an encrypted secret.
func Sealed(text string) bool { return strings.HasPrefix(text, SealedPrefix) }

// Unseal decrypts what Seal made, with the first identity that can. The error never holds a part of it.
func Unseal(sealed string, with []age.Identity) (string, error) {
	if len(with) == 0 {
		return "", ErrNoKey
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sealed, SealedPrefix))
	if err != nil {
		return "", errors.New("is no encrypted secret: what follows " + SealedPrefix + " is damaged; encrypt it again with 'tillstream secrets encrypt'")
	}
	r, err := age.Decrypt(bytes.NewReader(b), with...)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return "", fmt.Errorf("is encrypted for another key: none of the %d that are known opens it", len(with))
	case err != nil:
		return "", errors.New("cannot be decrypted: it is damaged; encrypt it again with 'tillstream secrets encrypt'")
	}
	text, err := io.ReadAll(io.LimitReader(r, sealedBytesMax+1))
	if err != nil || len(text) > sealedBytesMax {
		return "", errors.New("cannot be decrypted: it is damaged or too long; encrypt it again with 'tillstream secrets encrypt'")
	}
	return string(text), nil
}

// unsealer is how a loader opens sealed secrets: with the keys of the environment, read once.
func (o Options) unsealer() func(string) (string, error) {
	if o.Unseal != nil {
		return o.Unseal
	}
	keys := sync.OnceValues(func() ([]age.Identity, error) { return Identities(o.Getenv) })
	return func(sealed string) (string, error) {
		list, err := keys()
		if err != nil {
			return "", err
		}
		return Unseal(sealed, list)
	}
}

var sealedForm = regexp.MustCompile(regexp.QuoteMeta(SealedPrefix) + `[A-Za-z0-9+/]{64,}={0,2}`)

// FindSealed lists the sealed secrets of a text.
func FindSealed(text string) []string { return sealedForm.FindAllString(text, -1) }

// Reseal seals every sealed secret of a text anew for these recipients, and leaves all else as it is. n is how many. The
// error is about the first that none of the identities opens.
func Reseal(text string, with []age.Identity, to []age.Recipient) (out string, n int, err error) {
	out = sealedForm.ReplaceAllStringFunc(text, func(word string) string {
		if err != nil {
			return word
		}
		var secret, again string
		if secret, err = Unseal(word, with); err == nil {
			again, err = Seal(secret, to)
		}
		n++
		return again
	})
	if err != nil {
		return "", 0, fmt.Errorf("the encrypted secret number %d %w", n, err)
	}
	return out, n, nil
}
