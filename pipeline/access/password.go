package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost of a password's hash: 19 MiB and two passes, as OWASP advises at the least.
const (
	argonPasses  = 2
	argonKiB     = 19 * 1024
	argonThreads = 1
	argonBytes   = 32
	saltBytes    = 16
	// hashesMax bounds the memory that people who try to sign in can take.
	hashesMax = 4
)

// hasher computes passwords' hashes, a few at a time.
type hasher struct{ slots chan struct{} }

func newHasher() hasher { return hasher{make(chan struct{}, hashesMax)} }

func (h hasher) run(ctx context.Context, f func()) error {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		f()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("too many sign in at this moment: %w", ctx.Err())
	}
}

// hash is the PHC form of a new hash of password.
func (h hasher) hash(ctx context.Context, password string) (out string, err error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	err = h.run(ctx, func() {
		sum := argon2.IDKey([]byte(password), salt, argonPasses, argonKiB, argonThreads, argonBytes)
		out = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonKiB, argonPasses, argonThreads,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
	})
	return out, err
}

// verify compares password with a hash. It takes as long for a hash that is none, so that nobody learns which names exist.
func (h hasher) verify(ctx context.Context, phc, password string) (ok bool, err error) {
	salt, want, passes, kib, threads, good := parsePHC(phc)
	if !good {
		salt, want, passes, kib, threads = make([]byte, saltBytes), make([]byte, argonBytes), argonPasses, argonKiB, argonThreads
	}
	err = h.run(ctx, func() {
		got := argon2.IDKey([]byte(password), salt, passes, kib, threads, uint32(len(want)))
		ok = subtle.ConstantTimeCompare(got, want) == 1 && good
	})
	return ok, err
}

// parsePHC reads a hash; its costs are bounded, as whoever can write to the log could name any.
func parsePHC(phc string) (salt, sum []byte, passes, kib uint32, threads uint8, ok bool) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, 0, 0, 0, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &kib, &passes, &threads); err != nil || n != 3 {
		return nil, nil, 0, 0, 0, false
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	sum, errSum := base64.RawStdEncoding.DecodeString(parts[5])
	ok = errSalt == nil && errSum == nil && len(salt) >= 8 && len(sum) >= 16 && len(sum) <= 64 &&
		passes >= 1 && passes <= 10 && kib >= 8*1024 && kib <= 128*1024 && threads >= 1 && threads <= 4
	return salt, sum, passes, kib, threads, ok
}
