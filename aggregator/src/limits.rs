//! Every bound of this program: its unit, its reason, and what happens when it is reached.
//!
//! Formats have their own bounds in the evidence crate; documents in the spec crate.
// why big: one list, so that nobody looks for a bound elsewhere; most of it is the reasons.

/// How often the leader's clock becomes a fact: a `Tick` command, in milliseconds.
/// Ticks move windows and find missing results; a slower tick only shows silence later.
pub const TICK_INTERVAL_MS: u64 = 1_000;

/// How long a leaf may wait for its checkpoint, in milliseconds. The leader proposes a seal this
/// often while there is something unsealed; nothing is lost when one is late.
pub const PROVEN_INTERVAL_MS: u64 = 250;

/// How long a replica that ends waits for its last leaf to be sealed, in milliseconds. What is
/// not sealed then is sealed after the next start; nothing acknowledged depends on it.
pub const LAST_SEAL_MS_MAX: u64 = 2_000;

/// How often the state is saved to its tables, in milliseconds. Only the time of a restart
/// depends on it: what is not saved is applied again from the Raft log.
pub const TABLES_SAVE_INTERVAL_MS: u64 = 10_000;

/// A save is not begun before this many times what the one before took: a large fleet's state is
/// saved less often rather than at the cost of what it reports. The next start applies more.
pub const TABLES_SAVE_COST_TIMES: u64 = 50;

/// But it is begun after this, in milliseconds, whatever the one before took: what the next start
/// applies stays bounded.
pub const TABLES_SAVE_PAUSE_MS_MAX: u64 = 60_000;

/// Batches that the index of results keeps in memory (some 64 bytes each); with so many they are
/// written to the tables without waiting for the next save.
pub const INDEX_NEWEST_MAX: usize = 65_536;

/// Batches in one row of the index (some 8 bytes each); further ones begin the next row.
pub const INDEX_ROW_BATCHES_MAX: usize = 1_024;

/// The views are not made again before this many times what they took: those of a large fleet are
/// some seconds old rather than a burden. Each says as of when.
pub const VIEWS_COST_TIMES: u64 = 50;

/// But they are never older than this and a tick, in milliseconds.
pub const VIEWS_PAUSE_MS_MAX: u64 = 5_000;

/// How many proposals of the recorder may wait. One that finds no room is made again at the next
/// seal.
pub const PROPOSALS_OF_RECORDER_MAX: usize = 64;

/// How many duties (ticks, seals, cosignatures) may wait for their outcome. One more is not
/// proposed: the next tick or seal does it again.
pub const DUTIES_UNDER_WAY_MAX: usize = 64;

/// How long a leader may hold leaves that no published checkpoint covers, in milliseconds. Reached:
/// it hands leadership to another replica, in case it is its own root that nobody confirms.
pub const SEAL_STALLED_MS_MAX: u64 = 10_000;

/// How often a replica says that it does not confirm proposed roots, in milliseconds: each seal
/// brings one, and one line tells it all.
pub const SEAL_REFUSED_LOG_MS: u64 = 10_000;

/// How long callers may take to finish once a stop was asked, at the doors and among peers each, in
/// milliseconds. Reached: their connections are cut, so that one that says nothing more cannot hold
/// up the stop. Nothing acknowledged depends on the drain.
pub const DRAIN_MS_MAX: u64 = 3_000;

/// How long the last writes may take once nobody calls any more, in milliseconds: what is committed
/// is applied, made durable, and the tables saved. Reached: the program ends without them (exit
/// 75); the next start applies more of the Raft log.
pub const DRAIN_WRITES_MS_MAX: u64 = 10_000;

// Consensus. Sizes are of encoded bytes unless said otherwise.

/// One tick of the Raft clock, in milliseconds. Fine enough that a lost leader is missed soon; a
/// tick wakes one thread and costs some microseconds.
pub const RAFT_TICK_MS: u64 = 50;

/// Ticks without a leader's word before a replica may ask for votes: half a second. The voters take
/// turns two ticks apart (`consensus/election.rs`), so a new leader is there after 0.55 to 0.75 s.
/// Shorter is not better: on a machine with more work than cores a word of the leader may come 100
/// to 200 ms late, and an election then costs more than it brings.
pub const ELECTION_TICKS: usize = 10;

/// Ticks between a leader's heartbeats: four may be lost before anybody doubts it.
pub const HEARTBEAT_TICKS: usize = 2;

/// How much a term may rise in one peer's message. Real terms rise by one an election. Beyond, the
/// message is dropped and counted (`term`).
pub const TERM_JUMP_MAX: u64 = 1 << 32;

/// Entries in one append message, in bytes. An entry that is larger alone travels alone.
pub const MESSAGE_ENTRIES_BYTES_MAX: u64 = 1 << 20;

/// Append messages sent to one peer and not confirmed. Reached: raft waits for the peer.
pub const INFLIGHT_MESSAGES_MAX: usize = 256;

/// A leader's own entries that are not committed, in bytes. Reached: proposals get `Busy`.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// Committed entries handed out in one round, in bytes. The rest comes in the next rounds.
pub const COMMITTED_BYTES_PER_READY_MAX: u64 = 16 << 20;

/// Proposals under way on one replica, own and forwarded. Reached: `Busy`.
pub const PROPOSALS_MAX: usize = 4_096;

/// Bytes of the proposals under way on one replica. Reached: `Busy`.
pub const PROPOSALS_BYTES_MAX: usize = 64 << 20;

/// Commands packed into one entry: bounds how long one apply step takes.
pub const ENTRY_COMMANDS_MAX: usize = 1_024;

/// Commands packed into one entry, in bytes; so also the largest command. Larger: `TooLarge`, and
/// in an entry that came from elsewhere it is damage: the replica stops.
pub const ENTRY_COMMANDS_BYTES_MAX: usize = 1 << 20;

/// When a caller told `Busy` should come back at the earliest, in milliseconds: a few group commits
/// later. A longer queue tells a later time: twice what its oldest has waited.
pub const BUSY_RETRY_MS: u64 = 50;

/// The latest such time, in milliseconds. Reached when a queue hardly moves: coming back sooner
/// costs more than it finds out.
pub const BUSY_RETRY_MS_MAX: u64 = 5_000;

/// How long an offer of leadership may stand, in milliseconds: after one election timeout the
/// leader takes it back. Reached: whoever made it goes on without.
pub const LEADERSHIP_OFFER_MS: u64 = RAFT_TICK_MS * ELECTION_TICKS as u64;

/// When a caller should come back who was told that nobody leads, in milliseconds. An election
/// takes about three times as long; its callers should not wait much longer than it does.
pub const NO_LEADER_RETRY_MS: u64 = 200;

/// Members of the group, voters and learners. A majority of more than that is slower than the
/// network between them is worth. Reached: a change that adds one is refused.
pub const MEMBERS_MAX: usize = 32;

/// What describes a snapshot to those who fetch it, in bytes: it travels in one Raft message.
/// Longer: the message is refused (`snapshot_meta`).
pub const SNAPSHOT_DESCRIPTOR_BYTES_MAX: usize = 4_096;

/// Ticks that a peer may take for a snapshot before it is asked where it stands (ten seconds).
/// Reached: it is offered the newest one, if it still needs one; what it has fetched it keeps.
pub const SNAPSHOT_TICKS_MAX: u64 = 200;

/// Reads about which a leader asks its majority at once. Each is one question for all that waited
/// on one replica, so a handful is usual. Reached: further ones are dropped, and asked again.
pub const READS_PENDING_MAX: usize = 256;

/// How many commits are remembered with the instant at which they were heard of, by which a stale
/// read tells its age: some seconds in full. Reached: every other one of the older half is let go.
pub const COMMITS_NOTED_MAX: usize = 128;

/// Callers waiting for the same read index on one replica. Reached: `Busy`.
pub const READS_WAITING_MAX: usize = 4_096;

/// Ticks after which an unanswered read is asked again under another name: raft drops it in silence
/// when there is no leader, and with every lost message.
pub const READ_RETRY_TICKS: u64 = 4;

/// How long a caller waits for a read index, in milliseconds: some elections. Reached: it is told
/// that nobody answered, and may read what is here if stale will do.
pub const READ_MS_MAX: u64 = 3_000;

/// Peers' messages waiting for the raft thread, in number and in bytes. It takes all that waits
/// before it looks at the output, so this also bounds one round. Reached: messages are dropped and
/// counted; raft sends again.
pub const PEER_MESSAGES_MAX: usize = 4_096;
/// See [`PEER_MESSAGES_MAX`].
pub const PEER_MESSAGES_BYTES_MAX: usize = 64 << 20;

/// Bytes waiting for the log thread. Reached: peers' appends are dropped and counted until the
/// disk has caught up; own proposals are bounded by [`PROPOSALS_BYTES_MAX`] already.
pub const LOG_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Committed entries waiting in memory for the apply thread, in bytes. Reached: later ones are
/// left in the log and read from there when their turn comes.
pub const APPLY_BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Newest log entries kept in memory, in bytes. Older ones are read from disk.
pub const LOG_TAIL_BYTES_MAX: usize = 64 << 20;

/// Ticks that one flush of the Raft log may take (ten seconds). Reached: the process aborts, so
/// that a replica with a working disk can lead.
pub const LOG_STALL_TICKS_MAX: u64 = 200;

/// One file of the Raft log, in bytes. Reached: the next record begins a new file.
pub const LOG_FILE_BYTES: u64 = 64 << 20;

/// Messages waiting for one peer's stream, in number and in bytes. Reached: messages are dropped,
/// counted, and the peer is reported unreachable to raft, which sends again.
pub const PEER_QUEUE_MESSAGES_MAX: usize = 1_024;
/// See [`PEER_QUEUE_MESSAGES_MAX`].
pub const PEER_QUEUE_BYTES_MAX: usize = 32 << 20;

/// One gRPC message between replicas, in bytes: an append message with its largest entry, and
/// room for the framing. Larger: the stream ends with an error that names the size.
pub const PEER_RPC_BYTES_MAX: usize = 4 << 20;

/// Commands gathered into one forward, in bytes. The rest waits for the next.
pub const FORWARD_BYTES_MAX: usize = 2 << 20;

/// How long a forward may take before its callers are told `Lost`, in milliseconds.
pub const FORWARD_TIMEOUT_MS: u64 = 5_000;

/// The first wait before a peer is dialled again, in milliseconds; doubled up to the maximum.
pub const PEER_REDIAL_MS_MIN: u64 = 50;
/// See [`PEER_REDIAL_MS_MIN`].
pub const PEER_REDIAL_MS_MAX: u64 = 1_000;

/// Between two keepalive pings to a peer, in milliseconds: a dead connection is found by them.
pub const PEER_KEEPALIVE_MS: u64 = 2_000;

/// How long a keepalive ping may stay unanswered, and a connection attempt or handshake may take.
pub const PEER_TIMEOUT_MS: u64 = 3_000;

/// Faults named by one refused spec, and the bytes of each. The rest is counted, a longer text
/// is cut: the spec crate reports at most a hundred.
pub const REFUSAL_FAULTS_MAX: usize = 128;
/// See [`REFUSAL_FAULTS_MAX`].
pub const REFUSAL_TEXT_BYTES_MAX: usize = 2_048;

/// Agents ever enrolled by name, retired ones too (their names keep their epoch). About 3 KiB of
/// state each. Reached: an enrolment is refused with `agents_full`.
pub const AGENTS_MAX: usize = 10_000;

/// Batches remembered per agent, so that a retry is told its leaf index and other bytes under a
/// taken sequence number are noticed. Older retries still are duplicates, by their number.
pub const RECENT_BATCHES_MAX: usize = 64;

/// Join tokens remembered while older programs take part: spent ones count until they are
/// forgotten. Reached: a new one is refused with `tokens_full`.
pub const TOKENS_MAX_BEFORE_MEMBERS: usize = 1_000;

/// Join tokens remembered: a whole fleet's. Reached: the spent one that expires first is forgotten;
/// when all are open, a new one is refused with `tokens_full`.
pub const TOKENS_MAX: usize = AGENTS_MAX;

/// How long after its expiry a token is remembered, in milliseconds, so that a late agent is
/// told `token_expired` or `token_spent` rather than `token_unknown`.
pub const TOKEN_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Bytes of all spec texts ever applied: they are kept to rebuild the documents in force.
/// Reached: an apply is refused with `specs_full`.
pub const SPEC_TEXTS_BYTES_MAX: u64 = 64 << 20;

/// The latest time an entry may be stamped with: a day before the formats' last, so that with leads
/// added it still fits every header. A later stamp is a broken clock: the state takes this one.
pub const STAMP_MS_MAX: u64 = proofmark_evidence::limits::TIME_MS_MAX - 24 * 60 * 60 * 1_000;

/// How far ahead of the leader's stamp a result's schedule may lie, in milliseconds. Beyond, the
/// agent's clock is wrong: `clock_ahead`, and the agent sends it again later. Twice
/// [`FUTURE_MS_MAX`], by which admission judged already: that was the clock of whichever replica
/// the agent is connected to, and the leader that stamps may run behind it.
pub const CLOCK_AHEAD_MS_MAX: u64 = 60_000;

/// Failing results kept in the state for the views. Older ones are in the evidence.
pub const FAILURES_MAX: usize = 100;

/// Failing results shown on the page. The API has them all, up to [`FAILURES_MAX`].
pub const PAGE_FAILURES_MAX: usize = 20;

/// Seals that wait for their majority of cosignatures. Reached: the oldest is forgotten; the
/// next covers all that it covered.
pub const SEALS_PENDING_MAX: usize = 16;

/// Applied entries that wait for the recorder, each at most one Raft entry of about a mebibyte.
/// Reached: the apply thread waits, and proposals fill their own queue up to `Busy`.
pub const RECORDER_TASKS_MAX: usize = 64;

/// Page cache of the tables, in bytes. The state itself is in memory; the tables are read at
/// start-up and by lookups of single results.
pub const TABLES_CACHE_BYTES: u64 = 32 << 20;

/// How often, and how far apart in milliseconds, the tables' lock is tried at start: a process
/// that was just killed may hold it for some seconds. Reached: start-up fails and says so.
pub const TABLES_LOCK_TRIES_MAX: u32 = 100;
/// See [`TABLES_LOCK_TRIES_MAX`].
pub const TABLES_LOCK_RETRY_MS: u64 = 100;

/// How long opening and comparing the tables may take, in milliseconds. Reached: they count as
/// damaged and are rebuilt.
pub const TABLES_OPEN_MS_MAX: u64 = 120_000;

/// Damaged tables that are kept aside for a person to look at. Reached: the oldest is deleted.
pub const TABLES_DAMAGED_KEPT_MAX: usize = 3;

// ---- identity: certificates ----

/// Life of the CAs and of what they sign for nodes and operators, in days. When it ends the
/// cluster's ports refuse every handshake: long, because renewing a CA is work for people.
pub const CA_CERTIFICATE_DAYS: i64 = 3_650;

/// Life of an agent's TLS certificate, in days. Its agent warns at every start when 30 days are
/// left; after it no handshake succeeds, and a person gives the agent a new identity (OPERATING.md,
/// "An agent's certificate ends").
pub const AGENT_CERTIFICATE_DAYS: i64 = 365;

/// How far a certificate's start lies before its making, in seconds: clocks of a fleet differ.
pub const CERTIFICATE_BACKDATE_S: i64 = 3_600;

/// Size of an enrolling agent's certificate request, in bytes. A P-256 one has about 300; a larger
/// one is refused unread.
pub const CSR_BYTES_MAX: usize = 4_096;

// ---- ingest: the agent port, before anyone is known ----

/// TLS handshakes under way at once. At the bound the door stops accepting: the kernel's backlog
/// holds the rest, and a port scanner cannot take our memory.
pub const HANDSHAKES_MAX: usize = 512;

/// A handshake that takes longer, in milliseconds, is dropped.
pub const HANDSHAKE_MS_MAX: u64 = 5_000;

/// Open connections of one port. One more is closed at once; agents move to another node.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Open connections from one address. One more is closed at once. A host with many sidecars, or a
/// NAT, stands behind one address: far above one, far below all.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 5_000;

/// Pause after the system refused a new connection (no file descriptors), in milliseconds:
/// asking again at once would spin.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections that have shaken hands and wait for the HTTP/2 server to take them.
pub const CONNECTIONS_WAITING_MAX: usize = 64;

// ---- api: the HTTP port ----

/// Open connections of the HTTP port. At the bound the door stops accepting until one ends: the
/// kernel's backlog holds the rest. People, a scraper, an auditor's copy: far below.
pub const HTTP_CONNECTIONS_MAX: usize = 256;

/// How long a linearizable read may take, in milliseconds: an election ([`READ_MS_MAX`]), or the
/// pause between two views of a large fleet. Reached: 503, `read_behind`.
pub const HTTP_READ_MS_MAX: u64 = 4_000;

/// When a caller whose read nobody vouched for should come back, in seconds: an election later.
pub const HTTP_READ_RETRY_S: u64 = 1;

/// How long a request's head may take, in milliseconds, from when the connection could take one.
/// Reached: the connection is closed. Longer than a scraper's usual interval, so that it keeps its
/// connection.
pub const HTTP_HEAD_MS_MAX: u64 = 60_000;

// ---- ingest: HTTP/2 and gRPC on the agent port (reasons: CVE-2023-44487, CVE-2024-27316) ----

/// RPCs at once on one connection: an agent needs one. More are refused by HTTP/2.
pub const AGENT_STREAMS_MAX: u32 = 16;

/// Requests at once on one connection, counted by tonic; more are answered `unavailable`.
pub const CONNECTION_REQUESTS_MAX: usize = 32;

/// Streams reset for the client's own faults before its connection is closed (rapid reset).
pub const LOCAL_RESETS_MAX: usize = 64;

/// Streams reset by the client before we took them, before its connection is closed.
pub const PENDING_RESETS_MAX: usize = 20;

/// Size of a request's headers, in bytes; more are refused (CONTINUATION flood).
pub const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;

/// Size of one HTTP/2 frame, in bytes: the protocol's smallest allowed maximum.
pub const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Size of one message from an agent or operator, in bytes; a larger one is answered
/// `out_of_range` and its stream ends. A mebibyte and room for a leaf, which is more than the
/// largest batch (`PAYLOAD_BYTES_MAX`): a payload a little too large gets a refusal by name.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024 + 16 * 1024;

/// Size of one message to an agent or operator, in bytes. Ours to keep: spec sets are bounded.
pub const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Unread bytes of one stream. Reached: HTTP/2 flow control holds the sender back.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Unread bytes of one connection, all its streams together: memory at worst is connections × this.
/// Reached: HTTP/2 flow control holds the sender back.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// HTTP/2 ping after this silence, in milliseconds: finds a connection that is gone.
pub const KEEPALIVE_INTERVAL_MS: u64 = 30_000;
/// The wait for that ping's answer, in milliseconds. Reached: the connection is closed.
pub const KEEPALIVE_TIMEOUT_MS: u64 = 10_000;

/// Time for one RPC until its reply (for Connect: until Welcome), in milliseconds; then
/// `cancelled`.
pub const RPC_MS_MAX: u64 = 10_000;

/// Age of a connection, in milliseconds. Agents then connect anew: load spreads over new nodes,
/// certificates are checked again.
pub const CONNECTION_AGE_MS_MAX: u64 = 3_600_000;
/// What RPCs under way get to end in after that age, in milliseconds. Reached: they are cut off.
pub const CONNECTION_AGE_GRACE_MS: u64 = 30_000;

/// Connect streams end by themselves up to this much earlier, in milliseconds, each at its own
/// random time, so that a fleet does not come back at once.
pub const STREAM_AGE_JITTER_MS: u64 = 600_000;

// ---- ingest: one agent's Connect stream ----

/// Silence of an agent, in milliseconds, until its stream is closed. Agents ping when idle.
pub const STREAM_IDLE_MS_MAX: u64 = 60_000;

/// Batches of one stream between receipt and answer. At the bound the stream is not read:
/// HTTP/2 flow control holds the agent back.
pub const STREAM_BATCHES_MAX: usize = 8;

/// Between two checkpoints told to one agent, in milliseconds. Several are published each second;
/// ten thousand agents that heard of each would cost more than their batches do.
pub const NOTE_INTERVAL_MS: u64 = 10_000;

/// Answers waiting for a slow agent. At the bound the stream is not read either; an agent that
/// takes none for `STREAM_IDLE_MS_MAX` is disconnected.
pub const STREAM_ANSWERS_MAX: usize = 16;

/// Batches of all streams between receipt and answer: bounds memory, 1 MiB each at worst.
/// At the bound the answer is `Busy`.
pub const BATCHES_UNDER_WAY_MAX: usize = 512;

/// What share of the free places one stream may hold: with `1/n` of them or more under way, its
/// next batch is told `Busy` (`ingest_share`). While there is room nobody meets it; when there is
/// little, those who hold most wait first, so that one agent's backlog does not starve a fleet.
pub const STREAM_SHARE: usize = 16;

/// Delay told to an agent with `Busy` when ingest itself is full, in milliseconds.
pub const INGEST_BUSY_RETRY_MS: u64 = 250;

// ---- admission ----

/// A payload up to this, in bytes, is judged by the thread that read it: its signature costs about
/// as much as handing it to another thread and back would cost besides. A larger one goes to a
/// blocking thread, so that the network does not wait for its hashes.
pub const ADMITTED_HERE_BYTES_MAX: usize = 4 << 10;

/// Size of one batch's payload, in bytes: with its leaf it fits a message (`REQUEST_BYTES_MAX`) and
/// a Raft entry. Above it the batch is refused for good, so an agent's own bound lies below.
pub const PAYLOAD_BYTES_MAX: usize = proofmark_evidence::limits::BATCH_PAYLOAD_BYTES_MAX;

/// How far a result's scheduled time may lie ahead of this replica's clock, in milliseconds. Beyond
/// it the batch is refused with `clock_ahead` before it costs an entry, and may come again later.
/// The state judges again, by the leader's stamp: [`CLOCK_AHEAD_MS_MAX`] leaves room for the two
/// clocks to differ. The past is not bounded here: spools replay.
pub const FUTURE_MS_MAX: u64 = 30_000;

// ---- operators ----

/// Size of all files of one apply together, in bytes; more are refused.
pub const APPLY_BYTES_MAX: usize = 512 * 1024;

/// Files of one apply; more are refused.
pub const APPLY_FILES_MAX: usize = 1_000;

/// Life of a join token, in seconds; a longer one is refused.
pub const TOKEN_TTL_S_MAX: u32 = 7 * 86_400;

/// Raft messages in one frame of a peer's stream. The rest goes into the next frame.
pub const RAFT_MESSAGES_PER_FRAME_MAX: usize = 256;

/// TLS handshakes running at once on the peer port. Reached: connections wait in the kernel.
pub const PEER_HANDSHAKES_MAX: usize = 16;

/// HTTP/2 streams on one peer connection. Reached: the peer's next RPC waits.
pub const PEER_STREAMS_MAX: u32 = 64;

/// Streams a peer may reset before its connection is closed (CVE-2023-44487 and its kin).
pub const PEER_RESETS_MAX: usize = 64;

/// Headers of one peer request, in bytes. Larger: the request is refused by HTTP/2.
pub const PEER_HEADER_BYTES_MAX: u32 = 8 << 10;

// ---- scrubbing ----

/// Between two rounds in which a replica verifies its own evidence, in milliseconds: six hours. A
/// disk rots slowly, and a round reads everything there is.
pub const SCRUB_INTERVAL_MS: u64 = 6 * 60 * 60 * 1_000;

/// The pause before each bundle of 256 leaves, in milliseconds: about as long as their signatures
/// take, so that a round costs half a core at most.
pub const SCRUB_PAUSE_MS: u64 = 25;

/// How long after a fault the evidence is verified again before it is believed, in milliseconds:
/// by then a writer that was at work has published.
pub const SCRUB_RECHECK_MS: u64 = 2_000;

/// How often a replica that has published nothing yet looks whether it has, in milliseconds.
pub const SCRUB_WAIT_MS: u64 = 200;

// ---- snapshots and catching up ----

/// One chunk of a snapshot, and one piece of anything that travels between replicas, in bytes. A
/// lost connection costs at most this much again.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// All rows of one snapshot, in bytes: what every other bound of the state allows stays far below.
/// Reached: no snapshot is made (`snapshot_too_large`), and the Raft log is not compacted.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// Whole snapshots kept. The Raft log reaches back to the oldest of them, so that one damaged file
/// costs nothing; older ones are removed.
pub const SNAPSHOTS_KEPT: usize = 2;

/// Pieces asked for and not answered, of all peers together: so much memory, and so much work ahead
/// of a slow answer.
pub const FETCHES_UNDER_WAY_MAX: usize = 8;

/// Bundles of 256 leaves fetched at once, in order. Small ones would else be a round trip each.
pub const FETCH_BUNDLES_AHEAD_MAX: usize = 8;

/// Pieces of one file fetched ahead of what was taken.
pub const FETCH_PIECES_AHEAD_MAX: usize = 4;

/// How long a peer is not asked after it was busy (or its checkpoint not new enough), did not have
/// what was asked, did not answer, or sent something wrong; in milliseconds.
pub const FETCH_REST_BUSY_MS: u64 = 100;
/// See [`FETCH_REST_BUSY_MS`].
pub const FETCH_REST_GONE_MS: u64 = 500;
/// See [`FETCH_REST_BUSY_MS`].
pub const FETCH_REST_LOST_MS: u64 = 1_000;
/// See [`FETCH_REST_BUSY_MS`].
pub const FETCH_REST_WRONG_MS: u64 = 10_000;

/// How often a replica that catches up looks again whether a resting peer can be asked, in
/// milliseconds.
pub const FETCH_TICK_MS: u64 = 50;

/// Adopted leaves and blobs that are not durable yet, in bytes: so much memory, and so much is
/// fetched again after a crash. Reached: fetching waits for the disk.
pub const ADOPTED_BYTES_MAX: usize = 32 << 20;

/// How often a replica looks whether a leader offers it a snapshot, in milliseconds.
pub const OFFER_LOOK_MS: u64 = 500;

/// How long after giving up on a snapshot the next offer is looked at, in milliseconds.
pub const GAVE_UP_REST_MS: u64 = 5_000;

/// Pieces served to peers at once. One more is told to come back; what is served waits for its turn
/// by the configured rate.
pub const FETCHES_SERVED_MAX: usize = 16;

/// How long one piece may take, in milliseconds. Reached: another peer is asked.
pub const FETCH_TIMEOUT_MS: u64 = 10_000;

/// A snapshot is made when the Raft log has grown by the configured bytes since the last one; and
/// by no less than this many times the last one's size, so that a large state is not written out
/// more often than it is worth.
pub const SNAPSHOT_LOG_FACTOR: u64 = 4;

/// Of the Raft log's bytes between two snapshots the last such part stays whenever one is made, for
/// followers that lag by no more.
pub const SNAPSHOT_TAIL_PARTS: u64 = 4;

/// How often it is looked whether a checkpoint covers the newest snapshot by now, in milliseconds:
/// peers are offered no other.
pub const SNAPSHOT_COVERED_LOOK_MS: u64 = 500;

/// After one snapshot the next is made no sooner than this, in milliseconds, however fast the Raft
/// log grows (or than the configured interval, if that is shorter): a follower that was offered the
/// one must have time to come for it before it is removed.
pub const SNAPSHOT_GAP_MS: u64 = 5_000;

/// Bytes of Raft log between two snapshots, unless configured. The log on disk is at most some
/// three times that; a follower that lags by less needs no snapshot.
pub const SNAPSHOT_LOG_BYTES: u64 = 64 << 20;
/// What a configuration may ask for.
pub const SNAPSHOT_LOG_BYTES_MAX: u64 = 4 << 30;

/// Between two snapshots at the latest, in milliseconds, unless configured.
pub const SNAPSHOT_INTERVAL_MS: u64 = 10 * 60 * 1_000;
/// What a configuration may ask for.
pub const SNAPSHOT_INTERVAL_MS_MIN: u64 = 1_000;
/// See [`SNAPSHOT_INTERVAL_MS_MIN`].
pub const SNAPSHOT_INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Bytes a second to peers that catch up, unless configured: a fraction of a gigabit network and of
/// any disk, so that the majority's own work goes on. Ten gibibytes take five to six minutes.
pub const FETCH_RATE_BYTES: u64 = 32 << 20;
/// What a configuration may ask for.
pub const FETCH_RATE_BYTES_MAX: u64 = 4 << 30;

// ---- what must fit into what ----

const _: () = {
    use proofmark_evidence::limits::{BLOB_BYTES_MAX, LEAF_BYTES_MAX};

    /// Lengths, codes and names around what a message or a command carries.
    const FRAMING_BYTES: usize = 1_024;
    /// In an entry: a stamp, a count, and a length before each command.
    const ENTRY_BYTES: usize = ENTRY_COMMANDS_BYTES_MAX + 8 * ENTRY_COMMANDS_MAX;

    // The largest batch fits a request, and a command; so does the largest apply, which becomes a
    // payload blob besides.
    let batch_bytes = LEAF_BYTES_MAX + PAYLOAD_BYTES_MAX + FRAMING_BYTES;
    assert!(batch_bytes <= REQUEST_BYTES_MAX);
    assert!(batch_bytes <= ENTRY_COMMANDS_BYTES_MAX);
    let apply_bytes = APPLY_BYTES_MAX + FRAMING_BYTES;
    assert!(apply_bytes <= REQUEST_BYTES_MAX);
    assert!(apply_bytes <= ENTRY_COMMANDS_BYTES_MAX);
    assert!(APPLY_BYTES_MAX <= BLOB_BYTES_MAX);
    assert!(PAYLOAD_BYTES_MAX <= BLOB_BYTES_MAX);

    // Frames and forwards are filled until they reach their bound, so one item may lie beyond it.
    let appends_bytes = MESSAGE_ENTRIES_BYTES_MAX as usize + ENTRY_BYTES + FRAMING_BYTES;
    let forward_bytes = FORWARD_BYTES_MAX + ENTRY_COMMANDS_BYTES_MAX + 8 * ENTRY_COMMANDS_MAX;
    assert!(appends_bytes <= PEER_RPC_BYTES_MAX);
    assert!(forward_bytes <= PEER_RPC_BYTES_MAX);
};

/// host:port of a replica, in bytes: a DNS name of 253, a colon, a port. Longer is refused where it
/// is read.
pub const ADDRESS_BYTES_MAX: usize = 259;
/// Replicas in a cluster's life: ids, names and keys are used once, so each keeps its row, about
/// 400 bytes, for ever. Reached: no node is invited any more, `members_full`.
pub const MEMBERS_EVER_MAX: usize = 1000;
/// Nodes in one change of the membership: one that comes and one that goes. More are refused.
pub const CHANGED_NODES_MAX: usize = 2;
/// Replicas at one time, those that were removed a moment ago among them: more are not listened to,
/// `peers_full`.
pub const MEMBERS_PRESENT_MAX: usize = 32;
/// How often in a row one peer may say that this identity is in use before the replica ends. At
/// `PEER_REDIAL_MS_MAX` between tries that is longer than a dead connection of an earlier process
/// of its own can be taken for a live one (`PEER_KEEPALIVE_MS` and `PEER_TIMEOUT_MS`).
pub const IN_USE_REFUSALS_MAX: u32 = 16;
/// How often one stream looks for the way from its agent's policy to the newest. A few: the files
/// follow the state within a checkpoint or two. Reached: the agent is sent none, and says itself
/// that it believes no checkpoint.
pub const ROLL_OVER_TRIES_MAX: u32 = 8;
