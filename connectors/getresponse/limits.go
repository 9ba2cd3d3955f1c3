package getresponse

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// The documented limits of one account, whatever its key is used for.
const (
	requestsPerSecond = 80
	requestsPerWindow = 30_000
	requestsWindow    = 10 * time.Minute
	requestsAtOnceMax = 10

	accountHexDigits = 16
)

// Account names the account whose limits these are, without telling its key: as a destination of the same key does.
func (c *Config) Account() string {
	base := cmp.Or(c.BaseURL, defaultBase)
	host := base
	if u, err := url.Parse(base); err == nil {
		host = u.Host
	}
	sum := sha256.Sum256([]byte(c.APIKey.Reveal()))
	return host + "/" + hex.EncodeToString(sum[:])[:accountHexDigits]
}

// Limits is what GetResponse allows one account.
func (c *Config) Limits() outbound.Limits {
	return outbound.Limits{
		Windows:  []outbound.Window{{Requests: requestsPerSecond, Per: time.Second}, {Requests: requestsPerWindow, Per: requestsWindow}},
		Parallel: requestsAtOnceMax,
	}
}
