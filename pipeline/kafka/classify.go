package kafka

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kind says what an error of Kafka means for the one who got it.
type Kind int

// The kinds of error.
const (
	// Unknown: the request may have been carried out.
	Unknown Kind = iota
	// Retryable: it was not carried out; the same request may succeed later.
	Retryable
	// Fenced: another member or producer took over; what this one still holds is void.
	Fenced
	// Fatal: it fails again until somebody changes something.
	Fatal
)

// String is the kind's word in logs and metrics.
func (k Kind) String() string {
	return [...]string{"unknown", "retryable", "fenced", "fatal"}[k]
}

// Classify says what err means. Errors that it does not know are Unknown, the careful answer.
func Classify(err error) Kind {
	for _, fenced := range []error{
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.FencedInstanceID, kerr.IllegalGeneration,
		kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch, kerr.InvalidProducerIDMapping,
	} {
		if errors.Is(err, fenced) {
			return Fenced
		}
	}
	for _, fatal := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.UnsupportedVersion, kerr.UnknownTopicID, kerr.UnknownTopicOrPartition,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTopicException, kerr.PolicyViolation,
	} {
		if errors.Is(err, fatal) {
			return Fatal
		}
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return Retryable
	}
	switch {
	case errors.Is(err, kerr.RequestTimedOut), errors.Is(err, kerr.UnknownServerError), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, kgo.ErrRecordTimeout):
		return Unknown
	case kerr.IsRetriable(err):
		return Retryable
	}
	return Unknown
}
