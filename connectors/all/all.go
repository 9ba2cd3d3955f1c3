// Package all lists the connectors that this binary ships. Adding a connector is adding its line.
package all

import (
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/connectors/getresponse"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/connectors/shopify"
	"github.com/tillstream/tillstream/connectors/stripe"
	"github.com/tillstream/tillstream/connectors/woocommerce"
)

// Connectors returns them in the order in which they are shown.
func Connectors() *connectors.Registry {
	return connectors.NewRegistry(
		paypal.Connector,
		woocommerce.Connector,
		shopify.Connector,
		stripe.Connector,
		getresponse.Connector,
		generic.Connector,
	)
}
