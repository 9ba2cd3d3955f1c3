// Package redisstore keeps the working copy of the state in Redis 7: one hash of images and one sorted set of
// deadlines per partition and generation, and one hash that says where they stand.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/store"
)

// Store is a store in Redis.
type Store struct{ client redis.UniversalClient }

// New returns a store on client, which must talk to primaries only: a replica may answer with the past. All keys of
// a partition share the hash tag {stage:partition}, so Redis Cluster serves as well.
func New(client redis.UniversalClient) *Store { return &Store{client} }

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// Partition implements store.Store.
func (s *Store) Partition(id store.ID) store.Partition {
	return &partition{client: s.client, id: id, tag: "{" + id.String() + "}"}
}

// partition serialises its calls: what the owner last wrote is then well defined. A call that timed out may still
// run later; the fence of the claim that follows refuses it.
type partition struct {
	mu     sync.Mutex
	client redis.UniversalClient
	id     store.ID
	tag    string
}

func (p *partition) fenceKey() string           { return p.tag + ":fence" }
func (p *partition) imagesKey(gen int64) string { return fmt.Sprintf("%s:g%d:images", p.tag, gen) }
func (p *partition) timersKey(gen int64) string { return fmt.Sprintf("%s:g%d:timers", p.tag, gen) }

func (p *partition) keys(f store.Fence) []string {
	return []string{p.fenceKey(), p.imagesKey(f.Generation), p.timersKey(f.Generation)}
}

// standing are the arguments that every fenced script starts with.
func standing(f store.Fence) []any {
	building := "0"
	if f.Building {
		building = "1"
	}
	return []any{f.Owner, f.Changelog, f.Generation, f.Applied, building}
}

// run runs a script and turns its first element into an error. The rest is the script's answer.
func (p *partition) run(ctx context.Context, what string, script *redis.Script, keys []string, args ...any) ([]any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got, err := script.Run(ctx, p.client, keys, args...).Slice()
	if err != nil {
		kind := store.ErrUnavailable
		if strings.Contains(err.Error(), "WRONGTYPE") {
			kind = store.ErrCorrupt
		}
		return nil, fmt.Errorf("%s %s in redis: %w: %w", what, p.id, kind, err)
	}
	status, _ := got[0].(string)
	switch status {
	case "ok":
		return got[1:], nil
	case "fenced":
		return nil, fmt.Errorf("%s %s in redis: %w: %v", what, p.id, store.ErrFenced, got[1:])
	case "rolledback":
		return nil, fmt.Errorf("%s %s in redis: %w: found %v", what, p.id, store.ErrRolledBack, got[1:])
	case "corrupt":
		return nil, fmt.Errorf("%s %s in redis: %w: %v: it is rebuilt beside what is there", what, p.id, store.ErrCorrupt, got[1:])
	}
	return nil, fmt.Errorf("%s %s in redis: %w: odd answer %q", what, p.id, store.ErrUnavailable, status)
}

// Claim implements store.Partition.
func (p *partition) Claim(ctx context.Context, owner string) (store.Claim, error) {
	got, err := p.run(ctx, "claim", claimScript, []string{p.fenceKey()}, owner)
	if err != nil {
		return store.Claim{}, err
	}
	c := store.Claim{Fence: store.Fence{Changelog: text(got[0]), Owner: owner, Applied: number(got[1]), Generation: number(got[2])}}
	if at := number(got[3]); at != 0 {
		c.At = time.UnixMilli(at)
	}
	if meta := text(got[4]); meta != "" {
		c.Meta = []byte(meta)
	}
	return c, nil
}

// Read implements store.Partition.
func (p *partition) Read(ctx context.Context, f store.Fence, keys []string) ([][]byte, error) {
	if len(keys) > store.MaxKeys {
		return nil, fmt.Errorf("read %d keys of %s: at most %d", len(keys), p.id, store.MaxKeys)
	}
	args := standing(f)
	for _, k := range keys {
		args = append(args, k)
	}
	got, err := p.run(ctx, "read", readScript, p.keys(f), args...)
	if err != nil {
		return nil, err
	}
	if len(got) != len(keys) {
		return nil, fmt.Errorf("read %s in redis: %w: %d values for %d keys", p.id, store.ErrUnavailable, len(got), len(keys))
	}
	values := make([][]byte, len(keys))
	for i, v := range got {
		if s, ok := v.(string); ok && s != "" {
			values[i] = []byte(s)
		}
	}
	return values, nil
}

// Deadlines implements store.Partition.
func (p *partition) Deadlines(ctx context.Context, f store.Fence, from, before int64, limit int) ([]store.Deadline, int64, error) {
	upper := "(" + strconv.FormatInt(before, 10)
	if before == math.MaxInt64 {
		upper = "+inf"
	}
	got, err := p.run(ctx, "read deadlines of", deadlinesScript, p.keys(f), append(standing(f), from, upper, limit)...)
	if err != nil {
		return nil, 0, err
	}
	flat := got[1:]
	due := make([]store.Deadline, 0, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		at, err := strconv.ParseFloat(text(flat[i+1]), 64)
		if err != nil {
			return nil, 0, fmt.Errorf("a deadline in %s: %w: %w", p.id, store.ErrCorrupt, err)
		}
		due = append(due, store.Deadline{Key: text(flat[i]), At: int64(at)})
	}
	return due, number(got[0]), nil
}

// Apply implements store.Partition.
func (p *partition) Apply(ctx context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	if len(b.Images) > store.MaxImages {
		return f, fmt.Errorf("apply %d images to %s: at most %d", len(b.Images), p.id, store.MaxImages)
	}
	var sets, dels, arms, disarms []any
	for _, im := range b.Images {
		if im.Value == nil {
			dels = append(dels, im.Key)
		} else {
			sets = append(sets, im.Key, im.Value)
		}
		switch {
		case im.Same:
		case im.Value != nil && im.Deadline != 0:
			arms = append(arms, im.Deadline, im.Key)
		default:
			disarms = append(disarms, im.Key)
		}
	}
	args := append(standing(f), b.To, b.At.UnixMilli(), b.Meta, len(sets), len(dels), len(arms), len(disarms))
	for _, list := range [][]any{sets, dels, arms, disarms} {
		args = append(args, list...)
	}
	if _, err := p.run(ctx, "apply to", applyScript, p.keys(f), args...); err != nil {
		return f, err
	}
	f.Applied = b.To
	return f, nil
}

// Rebuild implements store.Partition.
func (p *partition) Rebuild(ctx context.Context, f store.Fence, changelog string, from int64) (store.Fence, error) {
	got, err := p.run(ctx, "rebuild", rebuildScript, []string{p.fenceKey()}, f.Owner, changelog, from, p.tag)
	if err != nil {
		return f, err
	}
	return store.Fence{Changelog: changelog, Owner: f.Owner, Applied: from, Generation: number(got[0]), Building: true}, nil
}

// Switch implements store.Partition.
func (p *partition) Switch(ctx context.Context, f store.Fence) (store.Fence, error) {
	if !f.Building {
		return f, fmt.Errorf("switch %s: %w", p.id, errors.New("the generation is not in building"))
	}
	if _, err := p.run(ctx, "switch", switchScript, p.keys(f), append(standing(f), p.tag)...); err != nil {
		return f, err
	}
	f.Building = false
	return f, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// number reads what the scripts return as text or integer; absent is 0.
func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
