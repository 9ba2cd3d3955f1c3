package paypal

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
)

// certificateEndsSoon is when the end of the signing certificate is worth a word.
const certificateEndsSoon = 30 * 24 * time.Hour

// Watch implements connectors.Watcher.
func (s *source) Watch() []connectors.Finding {
	var out []connectors.Finding
	now := s.env.Now()
	if since, err := s.api.trouble(); err != nil {
		f := connectors.Finding{
			Level: connectors.Warn, Field: "base_url", Message: fmt.Sprintf("PayPal has given no token since %s: %v", since.UTC().Format(time.RFC3339), err),
			Hint: "see whether this machine reaches PayPal, and PayPal's status page",
		}
		if statusOf(err) == http.StatusUnauthorized {
			f.Level, f.Field, f.Hint = connectors.Bad, "client_secret", hintSecret
			f.Message = fmt.Sprintf("PayPal has refused the credentials since %s: %v", since.UTC().Format(time.RFC3339), err)
		}
		out = append(out, f)
	}
	if cert := s.certificates.inUse(); cert != nil && cert.until.Sub(now) < certificateEndsSoon {
		f := connectors.Finding{
			Level: connectors.Warn, Field: "trust_file",
			Message: fmt.Sprintf("PayPal's signing certificate ends on %s, and no delivery was signed with a newer one yet", cert.until.UTC().Format(time.DateOnly)),
			Hint:    "nothing, if PayPal changes it in time; with a trust_file, see that it holds the authority of the new one",
		}
		if now.After(cert.until) {
			f.Level = connectors.Bad
		}
		out = append(out, f)
	}
	for _, f := range s.feeds() {
		if has, known := s.api.granted(f.scope); known && !has {
			out = append(out, connectors.Finding{
				Level: connectors.Warn, Field: "client_id", Hint: hintScope,
				Message: fmt.Sprintf("the list of %s is not read, since the app lacks the permission %s: what webhooks miss there is not found", f.Name, f.scope),
			})
		}
	}
	if has, known := s.api.granted(scopeVerify); known && !has && s.cfg.Verification != "" && s.cfg.Verification != verifyByCertificate {
		out = append(out, connectors.Finding{
			Level: connectors.Bad, Field: "verification", Hint: hintScope, Message: "PayPal cannot be asked about signatures, since the app lacks the permission " + scopeVerify,
		})
	}
	if until := s.api.spent().HoldUntil; until.After(now) {
		out = append(out, connectors.Finding{
			Level: connectors.Warn, Message: "PayPal wants no request until " + until.UTC().Format(time.RFC3339),
			Hint: "nothing; if it comes often, let fewer programs use the same app",
		})
	}
	return out
}

// Budget implements connectors.Watcher. PayPal names no limit of its own.
func (s *source) Budget() outbound.Budget { return s.api.spent() }
