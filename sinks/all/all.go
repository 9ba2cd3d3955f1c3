// Package all is the list of the sinks that this binary ships.
package all

import (
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
	"github.com/tillstream/tillstream/sinks/getresponse"
	"github.com/tillstream/tillstream/sinks/webhook"
)

// Sinks returns the registry of shipped sinks.
func Sinks() *sinks.Registry {
	return sinks.NewRegistry(activecampaign.Sink, getresponse.Sink, webhook.Sink)
}
