package kafka

import (
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Logger passes the client's log lines to log. What the client calls info is debug to us: it speaks at every
// transaction.
func Logger(log zerolog.Logger) kgo.Logger { return logger{log} }

type logger struct{ log zerolog.Logger }

// Level implements kgo.Logger.
func (l logger) Level() kgo.LogLevel {
	if l.log.GetLevel() <= zerolog.DebugLevel {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

// Log implements kgo.Logger.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	e := l.log.Debug()
	switch level {
	case kgo.LogLevelError, kgo.LogLevelWarn:
		e = l.log.Warn()
	}
	e.Str("component", "kafka-client").Fields(keyvals).Msg(msg)
}
