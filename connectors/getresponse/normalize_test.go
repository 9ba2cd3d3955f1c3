package getresponse

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

func delivery(body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: "fOh", Body: []byte(body),
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginPoll,
	}
}

// TestGolden: each payload gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, 7, func(t *testing.T, file string) (any, error) {
		events, err := Connector.Normalize(delivery(string(connectorstest.GoldenBody(t, file))))
		return connectorstest.WithoutBodies(t, events), err
	})
}
