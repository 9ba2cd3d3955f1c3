package tillstream.bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The benchmark's job (see bench/workload) as its experts would write it: byte arrays for keys and states, Avro read by
 * offset up to the last field needed, nothing allocated for what is dropped.
 *
 * <p>Open waits are either in a store of their own, ordered by deadline, or in memory in the order of their deadlines,
 * and then rebuilt from the orders at a restart.
 */
final class OrderJob implements Processor<byte[], byte[], byte[], byte[]> {
    static final String ORDERS = "orders";
    static final String TIMERS = "timers";

    private static final long PAY_WITHIN_MS = 3_600_000;
    private static final int SEEN_MAX = 16;
    private static final byte STATE_VERSION = 1;
    private static final int TIME = 1, DEADLINE = 9, STATUS = 17; // places in a state
    private static final int HEADER = 5, TRANSITION_ID = 1001;
    private static final byte[] PAID = ascii("PAID"), TIMED_OUT = ascii("TIMED_OUT"), NOTHING = new byte[0];
    private static final byte[] LOWEST = new byte[Long.BYTES];

    private final boolean timersInStore;
    private final Duration checkEvery;
    private final Progress progress;

    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> orders, timers;
    private Map<Bytes, Long> open; // by deadline, since stream time never goes back
    private int partition;

    private byte[] in; // the event being read
    private int at, idAt, idLength, statusAt, statusLength;
    private long time;

    OrderJob(boolean timersInStore, Duration checkEvery, Progress progress) {
        this.timersInStore = timersInStore;
        this.checkEvery = checkEvery;
        this.progress = progress;
    }

    private static byte[] ascii(String s) {
        return s.getBytes(StandardCharsets.US_ASCII);
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        partition = context.taskId().partition();
        orders = context.getStateStore(ORDERS);
        if (timersInStore) {
            timers = context.getStateStore(TIMERS);
        } else {
            open = openOrders();
        }
        context.schedule(checkEvery, PunctuationType.STREAM_TIME, this::fire);
    }

    private Map<Bytes, Long> openOrders() {
        List<Map.Entry<Bytes, Long>> found = new ArrayList<>();
        try (KeyValueIterator<byte[], byte[]> all = orders.all()) {
            while (all.hasNext()) {
                KeyValue<byte[], byte[]> o = all.next();
                long deadline = ByteBuffer.wrap(o.value).getLong(DEADLINE);
                if (deadline != 0) {
                    found.add(Map.entry(Bytes.wrap(o.key), deadline));
                }
            }
        }
        found.sort(Map.Entry.comparingByValue());
        Map<Bytes, Long> open = new LinkedHashMap<>();
        found.forEach(e -> open.put(e.getKey(), e.getValue()));
        return open;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        progress.began();
        read(record.value());
        step(record.key(), context.currentStreamTimeMs());
        context.recordMetadata().ifPresent(m -> progress.processed(partition, m.offset()));
    }

    private void step(byte[] key, long now) {
        byte[] state = orders.get(key);
        byte[] before = state;
        long deadline = state == null ? 0 : ByteBuffer.wrap(state).getLong(DEADLINE);
        if (deadline != 0 && deadline < now) { // due, and the check has not come yet
            state = timeOut(key, state, deadline, now);
            disarm(key, deadline);
            deadline = 0;
        }
        if (state != null && saw(state)) {
            if (state != before) {
                orders.put(key, state);
            }
            return;
        }
        long stateTime = state == null ? 0 : ByteBuffer.wrap(state).getLong(TIME);
        boolean older = state != null && time < stateTime;
        boolean pays = !older && is(in, statusAt, statusLength, PAID);
        long next = state == null ? now + PAY_WITHIN_MS : deadline;
        if (pays) {
            next = 0;
        }
        byte[] image = next(state, older, Math.max(time, stateTime), next);
        orders.put(key, image);
        if (next != 0 && deadline == 0) {
            arm(key, next);
        } else if (next == 0 && deadline != 0) {
            disarm(key, deadline);
        }
        if (!older && !sameStatus(state)) {
            byte[] from = state == null ? NOTHING : Arrays.copyOfRange(state, STATUS + 1, STATUS + 1 + state[STATUS]);
            forward(key, from, in, statusAt, statusLength, in, idAt, idLength, time, now);
        }
    }

    private void arm(byte[] key, long deadline) {
        if (timersInStore) {
            timers.put(timerKey(key, deadline), NOTHING);
        } else {
            open.put(Bytes.wrap(key), deadline);
        }
    }

    private void disarm(byte[] key, long deadline) {
        if (timersInStore) {
            timers.delete(timerKey(key, deadline));
        } else {
            open.remove(Bytes.wrap(key));
        }
    }

    private static byte[] timerKey(byte[] key, long deadline) {
        return ByteBuffer.allocate(Long.BYTES + key.length).putLong(deadline).put(key).array();
    }

    /** Fires what is due: deadlines before the stream time. */
    private void fire(long streamTime) {
        long now = context.currentStreamTimeMs();
        if (timersInStore) {
            byte[] upTo = ByteBuffer.allocate(Long.BYTES).putLong(now).array();
            try (KeyValueIterator<byte[], byte[]> due = timers.range(LOWEST, upTo)) {
                while (due.hasNext()) {
                    byte[] timer = due.next().key;
                    fire(Arrays.copyOfRange(timer, Long.BYTES, timer.length), now);
                    timers.delete(timer);
                }
            }
            return;
        }
        for (Iterator<Map.Entry<Bytes, Long>> it = open.entrySet().iterator(); it.hasNext(); it.remove()) {
            Map.Entry<Bytes, Long> e = it.next();
            if (e.getValue() >= now) {
                return;
            }
            fire(e.getKey().get(), now);
        }
    }

    private void fire(byte[] key, long now) {
        byte[] state = orders.get(key);
        orders.put(key, timeOut(key, state, ByteBuffer.wrap(state).getLong(DEADLINE), now));
    }

    /** Writes the transition of an order whose wait is over, and returns its next state. */
    private byte[] timeOut(byte[] key, byte[] state, long deadline, long now) {
        int length = state[STATUS];
        byte[] from = Arrays.copyOfRange(state, STATUS + 1, STATUS + 1 + length);
        forward(key, from, TIMED_OUT, 0, TIMED_OUT.length, NOTHING, 0, 0, deadline, now);
        ByteBuffer b = ByteBuffer.allocate(state.length - length + TIMED_OUT.length);
        b.put(state, 0, DEADLINE).putLong(0).put((byte) TIMED_OUT.length).put(TIMED_OUT);
        b.put(state, STATUS + 1 + length, state.length - STATUS - 1 - length);
        return b.array();
    }

    private boolean sameStatus(byte[] state) {
        return state != null && Arrays.equals(state, STATUS + 1, STATUS + 1 + state[STATUS], in, statusAt, statusAt + statusLength);
    }

    private static boolean is(byte[] b, int from, int length, byte[] word) {
        return Arrays.equals(b, from, from + length, word, 0, word.length);
    }

    private boolean saw(byte[] state) {
        int p = STATUS + 1 + state[STATUS];
        for (int n = state[p++]; n > 0; n--) {
            int length = state[p++] & 0xff;
            if (Arrays.equals(state, p, p + length, in, idAt, idAt + idLength)) {
                return true;
            }
            p += length;
        }
        return false;
    }

    /** The state after the event; an older event leaves its id only. */
    private byte[] next(byte[] state, boolean older, long newTime, long deadline) {
        int ids = 0, idsAt = 0, idsLength = 0;
        if (state != null) {
            idsAt = STATUS + 1 + state[STATUS];
            ids = state[idsAt++];
            if (ids == SEEN_MAX) {
                idsAt += 1 + (state[idsAt] & 0xff);
                ids--;
            }
            idsLength = state.length - idsAt;
        }
        byte[] status = older ? state : in;
        int from = older ? STATUS + 1 : statusAt, length = older ? state[STATUS] : statusLength;
        ByteBuffer b = ByteBuffer.allocate(STATUS + 1 + length + 1 + idsLength + 1 + idLength);
        b.put(STATE_VERSION).putLong(newTime).putLong(deadline).put((byte) length).put(status, from, length);
        b.put((byte) (ids + 1));
        if (idsLength > 0) {
            b.put(state, idsAt, idsLength);
        }
        return b.put((byte) idLength).put(in, idAt, idLength).array();
    }

    private void forward(byte[] key, byte[] from, byte[] to, int toAt, int toLength, byte[] id, int idAt, int idLength, long when, long now) {
        ByteBuffer b = ByteBuffer.allocate(HEADER + 4 * 2 + 10 + key.length + from.length + toLength + idLength);
        b.put((byte) 0).putInt(TRANSITION_ID);
        text(b, key, 0, key.length);
        text(b, from, 0, from.length);
        text(b, to, toAt, toLength);
        text(b, id, idAt, idLength);
        varint(b, when);
        context.forward(new Record<>(key, Arrays.copyOf(b.array(), b.position()), now));
    }

    private static void text(ByteBuffer b, byte[] s, int from, int length) {
        varint(b, length);
        b.put(s, from, length);
    }

    private static void varint(ByteBuffer b, long v) {
        long z = v << 1 ^ v >> 63;
        for (; (z & ~0x7fL) != 0; z >>>= 7) {
            b.put((byte) (z & 0x7f | 0x80));
        }
        b.put((byte) z);
    }

    // An OrderEvent up to provider_time, in the order of schemas/OrderEvent.avsc.
    private void read(byte[] event) {
        in = event;
        at = HEADER;
        idLength = (int) number();
        idAt = at;
        at += idLength;
        for (int i = 0; i < 7; i++) { // kind, provider, environment, connection, resource, root_id, entity_id
            skip();
        }
        for (long n = number(); n != 0; n = number()) { // links
            if (n < 0) {
                skip();
                continue;
            }
            for (; n > 0; n--) {
                skip();
                skip();
            }
        }
        skip(); // event_type
        skip(); // provider_status
        statusLength = (int) number();
        statusAt = at;
        at += statusLength;
        time = number();
    }

    private void skip() {
        long length = number();
        at += (int) length;
    }

    private long number() {
        long z = 0;
        for (int shift = 0;; shift += 7) {
            byte b = in[at++];
            z |= (long) (b & 0x7f) << shift;
            if (b >= 0) {
                return z >>> 1 ^ -(z & 1);
            }
        }
    }
}
