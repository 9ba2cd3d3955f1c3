package stripe

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

func delivery(body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: "5f70bf18a086007016e948b04aed3b82", Body: []byte(body),
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginWebhook,
	}
}

// TestGolden: each payload gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, 11, func(t *testing.T, file string) (any, error) {
		events, err := Connector.Normalize(delivery(string(connectorstest.GoldenBody(t, file))))
		return connectorstest.WithoutBodies(t, events), err
	})
}
