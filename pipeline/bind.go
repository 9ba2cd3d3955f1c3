package pipeline

import (
	"fmt"
	"runtime/debug"

	"github.com/tillstream/tillstream/processors"
)

// BoundStage is a stage as the engine sees it: over images, without its state's type. A panic of the stage is an
// error of the call.
type BoundStage interface {
	Name() string
	Version() processors.StageVersion
	Key(in processors.Input) (string, bool, error)
	// Open reads an image; nil is the state of a key never seen.
	Open(image []byte) (State, error)
}

// State is the state of one key. It never changes: Apply returns the next one.
type State interface {
	Apply(in processors.Input) (State, []processors.Output, error)
	Timers() ([]processors.Timer, error)
	// Image is nil for a state that is to be removed.
	Image() ([]byte, error)
}

// Bind makes a stage fit for the engine.
func Bind[S any](s processors.Stage[S]) BoundStage { return bound[S]{s} }

type bound[S any] struct{ stage processors.Stage[S] }

type boundState[S any] struct {
	stage processors.Stage[S]
	value S
	seen  bool
}

// PanicError is a panic of a stage.
type PanicError struct {
	Value any
	Stack string
}

// Error names the panic's value; the stack is for the log.
func (e *PanicError) Error() string { return fmt.Sprintf("the stage panicked: %v", e.Value) }

func caught(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: string(debug.Stack())}
	}
}

func (b bound[S]) Name() string                     { return b.stage.Name() }
func (b bound[S]) Version() processors.StageVersion { return b.stage.Version() }

func (b bound[S]) Key(in processors.Input) (key string, ok bool, err error) {
	defer caught(&err)
	key, ok = b.stage.Key(in)
	return key, ok, nil
}

func (b bound[S]) Open(image []byte) (s State, err error) {
	defer caught(&err)
	st := &boundState[S]{stage: b.stage, seen: image != nil}
	if image != nil {
		if st.value, err = b.stage.Decode(image); err != nil {
			return nil, fmt.Errorf("decode the state: %w", err)
		}
	}
	return st, nil
}

func (b *boundState[S]) Apply(in processors.Input) (next State, outs []processors.Output, err error) {
	defer caught(&err)
	value, outs, err := b.stage.Apply(b.value, in)
	if err != nil {
		return nil, nil, err
	}
	return &boundState[S]{stage: b.stage, value: value, seen: true}, outs, nil
}

func (b *boundState[S]) gone() bool {
	if !b.seen {
		return true
	}
	if f, ok := any(&b.value).(processors.Forgetter); ok {
		return f.Forget()
	}
	return false
}

func (b *boundState[S]) Timers() (timers []processors.Timer, err error) {
	defer caught(&err)
	if b.gone() {
		return nil, nil
	}
	return b.stage.Timers(b.value), nil
}

func (b *boundState[S]) Image() (image []byte, err error) {
	defer caught(&err)
	if b.gone() {
		return nil, nil
	}
	if image, err = b.stage.Encode(b.value); err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	if image == nil {
		image = []byte{}
	}
	return image, nil
}
