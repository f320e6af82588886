#!/usr/bin/perl
# Hostile peers on the port for other servers: each loses its connection, and the server says why and goes on.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

no warnings 'portable';
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => '127.0.0.1', LocalPort => 0);
my $port = $probe->sockport + 0;
close $probe;
my $dir = File::Temp->newdir(TMPDIR => 1);
my $d = Frame::Daemon->new('raftd', { node_name => 'n1', datacenter => 'dc1', server => JSON::PP::true, bootstrap_expect => 1,
	node_id => '11111111-2222-3333-4444-555555555555', data_dir => "$dir", bind_addr => '127.0.0.1', advertise_addr => '127.0.0.1',
	ports => { server => $port }, log_level => 'INFO', limits => { rpc_max_conns_per_client => 20 } });
my %op = %Frame::OP;
my $stranger = '00000000000000aa';

sub connect_peer { return Frame::Tcp->new('127.0.0.1', $port) }
sub header { pack 'NCCnN', @_ }
sub frame { my ($kind, $op, $id, $body) = @_; return header(length $body, $kind, 0, $op{$op}, $id) . $body }
sub body { my ($record) = @_; return "\x80" . Frame::pack_value($record) }

# The server lives, and serves: ours is the only way to know.
my $n = 0;
sub alive
{
	my ($what) = @_;
	my ($meta, $r) = $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => 'alive', Value => 'n' . ++$n } });

	($meta, $r) = $d->ask('kv.get', { Key => 'alive' });
	is($r->[0]{Value}, "n$n", "$what: the server goes on");
}
ok($d->wait_log(qr/cluster leadership acquired/), 'one server leads itself');
alive('at first');

# Lines about strangers are limited: do it until the log has one that tells of it.
sub says
{
	my ($re, $do) = @_;

	for (1 .. 20) {
		$do->();
		return 1 if $d->wait_log($re, 1);
	}
	return 0;
}

# ---- before the greeting
my %early = (
	'plain text' => "GET / HTTP/1.1\r\n\r\n",
	'zeros' => "\0" x 64,
	'ones' => "\xff" x 64,
	'a read' => frame(1, 'kv.get', 1, body({ Key => 'alive' })),
	'a write' => frame(1, 'kv.apply', 1, body({ Op => 'set', DirEnt => { Key => 'a', Value => 'x' } })),
	'a message of the core' => frame(6, 'peer.raft', 0, body({ Type => 3, Term => 99 })),
	'a join' => frame(1, 'peer.join', 1, body({ ID => $stranger })),
	'a greeting as a post' => frame(6, 'peer.hello', 0, body({ Protocol => 3 })),
	'a greeting without an id' => frame(1, 'peer.hello', 0, body({ Protocol => 3 })),
	'a greeting of a megabyte' => header(1 << 20, 1, 0, $op{'peer.hello'}, 1),
	'an answer' => frame(2, 'peer.hello', 1, body({})),
);
for my $what (sort keys %early) {
	my $c = connect_peer();

	$c->raw($early{$what});
	my $got = $c->drain;
	ok(defined $got && $got eq '', "$what before a greeting: closed without an answer");
}
ok($d->wait_log(qr/closing connection: peer=127\.0\.0\.1:\d+ error="something else than peer\.hello first"/), 'the log says so');
alive('without greetings');
my $whole = frame(1, 'peer.hello', 1, body({ Protocol => 3, Purpose => 'raft', Datacenter => 'dc1', ID => $stranger,
	Address => '127.0.0.9:9' }));
for my $len (1, 5, 11, 12, 13, length($whole) - 1) {
	my $c = connect_peer();

	$c->raw(substr $whole, 0, $len);
	shutdown $c->{sock}, 1;
	is($c->drain, '', "cut off after $len bytes: closed");
}
{
	my $c = connect_peer();

	is($c->drain(10), '', 'who says nothing is closed');
	ok(says(qr/no peer\.hello in time/, sub { connect_peer()->drain(10) }), 'the log says so');
}

# ---- greetings that are refused
my $c = connect_peer();
my ($own) = $c->hello(ID => $stranger, Purpose => 'join', Address => '127.0.0.9:9');
like($own->{ID}, qr/^[0-9a-f]{16}$/, 'a greeting is answered with one');
like($own->{Cluster}, qr/^[0-9a-f]{16}$/, 'of a cluster');
my @refused = (
	[ { Protocol => 9 }, qr/^This server speaks protocol 3, not 9$/ ],
	[ { Datacenter => 'dc2' }, qr/^This server is of datacenter dc1, not dc2$/ ],
	[ { Cluster => '0123456789abcdef' }, qr/^This server belongs to cluster \Q$own->{Cluster}\E, not to 0123456789abcdef$/ ],
	[ { ID => $own->{ID}, Address => '127.0.0.9:9' }, qr/its data directory is a copy/ ],
	[ { ID => $own->{ID}, Address => "127.0.0.1:$port", NodeID => '11111111-2222-3333-4444-555555555555' }, qr/^This is the server itself$/ ],
	[ { ID => 'zz' }, qr/^Malformed server id: "zz"$/ ],
	[ { ID => '' }, qr/^Malformed server id: ""$/ ],
	[ { ID => '0' x 16 }, qr/^Malformed server id/ ],
	[ { Purpose => 'mischief' }, qr/^Unknown purpose of a connection: mischief$/ ],
	[ { Address => 'nowhere' }, qr/^Not an address to answer at: "nowhere"$/ ],
	[ { Datacenter => 'x' x 3000 }, qr/^This server is of datacenter dc1, not x{64}$/ ],
);
for (@refused) {
	my ($h, $re) = @$_;
	my $p = connect_peer();
	my ($ok, $e) = $p->hello(ID => $stranger, Address => '127.0.0.9:9', %$h);

	ok(!defined $ok && $e->{Code} == 403, "refused: " . join ', ', map { substr "$_=$h->{$_}", 0, 40 } sort keys %$h);
	like($e->{Text}, $re, 'in one sentence');
	is($p->drain, '', 'and closed');
}
ok($d->wait_log(qr/refusing connection: peer=127\.0\.0\.1:\d+ error="This server is of datacenter dc1, not dc2"/), 'the log says it');
alive('after refusals');

# ---- greeted, and then
my $rid = 10;
my @later = (
	[ 'a second greeting', 'forward', sub { frame(1, 'peer.hello', 2, body({ Protocol => 3 })) } ],
	[ 'daemon.info', 'forward', sub { frame(1, 'daemon.info', 2, "\x80") } ],
	[ 'daemon.reload', 'forward', sub { frame(1, 'daemon.reload', 2, "\x80") } ],
	[ 'daemon.log', 'forward', sub { frame(1, 'daemon.log', 2, body({})) } ],
	[ 'gossip.leave', 'forward', sub { frame(1, 'gossip.leave', 2, "\x80") } ],
	[ 'agent.reload', 'forward', sub { frame(1, 'agent.reload', 2, "\x80") } ],
	[ 'a write as a post', 'forward', sub { frame(6, 'kv.apply', 0, body({ Op => 'set', DirEnt => { Key => 'a', Value => 'x' } })) } ],
	[ 'credit', 'forward', sub { frame(5, 'kv.get', 2, "\x01") } ],
	[ 'a message of the core among requests', 'forward', sub { frame(6, 'peer.raft', 0, body({ Type => 3, From => 0xaa })) } ],
	[ 'a message of the core that wants an answer', 'raft', sub { frame(1, 'peer.raft', 3, body({ Type => 3, From => 0xaa })) } ],
	[ 'a post with an id', 'raft', sub { frame(6, 'peer.raft', 3, body({ Type => 3 })) } ],
	[ 'a request twice', 'forward', sub { frame(1, 'kv.get', 7, "\x81\xa8MinIndex\xcf" . pack('Q>', 1 << 40) . Frame::pack_value({ Key => 'zz' })) x 2 } ],
	[ 'a body above its limit', 'forward', sub { header(65537, 1, 0, $op{'kv.get'}, 2) } ],
	[ 'two gigabytes', 'raft', sub { header(1 << 31, 6, 0, $op{'peer.raft'}, 0) } ],
	[ 'nonsense for a read', 'forward', sub { frame(1, 'kv.get', 2, "\xc1" x 9) } ],
);
my $ours = hex $own->{ID};
for (@later) {
	my ($what, $purpose, $bytes) = @$_;
	my $p = connect_peer();
	my ($ok, $e) = $p->hello(ID => $stranger, Purpose => $purpose, Address => '127.0.0.9:9');

	ok($ok, "greeted, then $what") or diag $e->{Text};
	$p->raw($bytes->());
	is($p->drain, '', 'closed without an answer');
}
alive('after what is not for peers');

# ---- messages of the core that are none
my %member = (ID => $stranger, Cluster => $own->{Cluster}, Address => '127.0.0.9:9');
my $max = '4611686018427387904';
my %wire = (
	'from somebody else' => { Type => 3, From => 0xbb, To => $ours, Term => 5 },
	'to somebody else' => { Type => 3, From => 0xaa, To => 77, Term => 5 },
	'of no type' => { Type => 0, From => 0xaa, To => $ours, Term => 1 },
	'of an unknown type' => { Type => 200, From => 0xaa, To => $ours, Term => 1 },
	'with entries that are none' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 2, Last => 3, PrevIndex => 1,
		PrevTerm => 1, Entries => 'garbage' },
	'with a batch that is none' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 2, Last => 2, PrevIndex => 1, PrevTerm => 1,
		Entries => pack('Q>N', 2, 40) . 'x' x 40 },
	'with a length beyond its end' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 2, Last => 2, PrevIndex => 1,
		PrevTerm => 1, Entries => pack('Q>N', 2, 0xffffffff) . 'x' x 40 },
	'with fewer entries than it says' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 2, Last => 900, PrevIndex => 1,
		PrevTerm => 1 },
	'with a term beyond all' => { Type => 1, From => 0xaa, To => $ours, Term => $max + 0 },
	'with an index beyond all' => { Type => 3, From => 0xaa, To => $ours, Term => 1, PrevIndex => $max + 0 },
	'with a time before all' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 1, Time => -1 },
	'with a time beyond all' => { Type => 5, From => 0xaa, To => $ours, Term => 1, First => 1, Time => $max + 0 },
	'with a text for a number' => { Type => 'x', From => 0xaa, To => $ours },
);
for my $what (sort keys %wire) {
	my $p = connect_peer();
	my ($ok) = $p->hello(%member);

	$p->post('peer.raft', $wire{$what});
	is($p->drain, '', "a message $what: closed");
}
ok(says(qr/malformed request: op=peer\.raft peer=127\.0\.0\.1:\d+ error="a message from 00000000000000bb to/,
	sub { my $x = connect_peer(); $x->hello(%member); $x->post('peer.raft', $wire{'from somebody else'}); $x->drain }),
	'the log says which');
ok(says(qr/error="a message with a time that cannot be: -1"/,
	sub { my $x = connect_peer(); $x->hello(%member); $x->post('peer.raft', $wire{'with a time before all'}); $x->drain }),
	'and why');
{
	my $p = connect_peer();

	$p->hello(%member, Cluster => '');
	$p->post('peer.raft', { Type => 3, From => 0xaa, To => $ours, Term => 5 });
	is($p->drain, '', 'a message of a server of no cluster: closed');
}
alive('after malformed messages');

# ---- anything at all: every message type with random members, bytes of good ones changed, the same again and again
my @members = qw(Term PrevIndex PrevTerm First Last Commit Round SentMS Match HintIndex HintTerm SnapId SnapIndex SnapTerm SnapSize Offset Read ReadIndex);
sub number { my @v = (0, 1, 2, 3, int(rand 100), 1 << 32, (1 << 62) - 1); return $v[rand @v] }
my $p;
sub send_random
{
	my ($bytes) = @_;

	if (!$p) {
		$p = connect_peer();
		$p->hello(%member) or die 'greeting';
	}
	undef $p if !$p->raw($bytes) || IO::Select->new($p->{sock})->can_read(0);
}
for (1 .. 1500) {
	my %m = (Type => 1 + int(rand 11), From => 0xaa, To => $ours);

	$m{$_} = number() for grep { rand() < 0.4 } @members;
	$m{OK} = JSON::PP::true if rand() < 0.3;
	$m{Data} = 'x' x int(rand 100) if rand() < 0.2;
	my $f = frame(6, 'peer.raft', 0, body(\%m));
	substr $f, 12 + int(rand(length($f) - 12)), 1, chr(int rand 256) if rand() < 0.3;
	send_random($f) for 1 .. 1 + (rand() < 0.1 ? 5 : 0);
}
undef $p;
alive('after random messages');

# ---- the other end of a connection that the server makes: it answers whoever greets it, at the address that was said
my $listener = IO::Socket::IP->new(Listen => 5, LocalHost => '127.0.0.1', LocalPort => 0) or die "listen: $!";
my $there = '127.0.0.1:' . $listener->sockport;
my $good = { Protocol => 3, Purpose => 'raft', Datacenter => 'dc1', Cluster => $own->{Cluster}, ID => $stranger };
sub reply { my ($record) = @_; my $b = Frame::pack_value({ Index => 0 }) . Frame::pack_value($record); return sub { header(length $b, 2, 0, $op{'peer.hello'}, $_[0]) . $b } }
my %bad_answer = (
	'refuses' => [ sub { my $b = Frame::pack_value({ Code => 403, Text => "go\naway" }); header(length $b, 2, 1, $op{'peer.hello'}, $_[0]) . $b }, qr/go.{0,4}away/ ],
	'is of another datacenter' => [ reply({ %$good, Datacenter => 'dc9' }), qr/This server is of datacenter dc1, not dc9/ ],
	'is of another cluster' => [ reply({ %$good, Cluster => '0123456789abcdef' }), qr/belongs to cluster \w+, not to 0123456789abcdef/ ],
	'is another server' => [ reply({ %$good, ID => '00000000000000ee' }), qr/There is another server at this address: id=00000000000000ee/ ],
	'says nonsense' => [ sub { header(3, 2, 0, $op{'peer.hello'}, $_[0]) . "\xc1\xc1\xc1" }, qr/malformed answer to peer\.hello/ ],
	'says too much' => [ sub { header(1 << 30, 2, 0, $op{'peer.hello'}, $_[0]) }, qr/malformed/i ],
	'answers something else' => [ sub { header(1, 2, 0, $op{'kv.get'}, 77) . "\x80" }, qr/malformed/i ],
	'sends a request' => [ sub { frame(1, 'kv.get', 1, body({ Key => 'alive' })) }, qr/malformed/i ],
	'goes away' => [ sub { '' }, qr/connection/i ],
);
sub answer_with
{
	my ($bytes) = @_;
	my $x = connect_peer();

	$x->hello(%member, Address => $there) or die 'greeting';
	my $s = $listener->accept;
	my (undef, undef, $number, $id, $body) = Frame::read_frame($s, 10);
	syswrite $s, $bytes->($id);
	IO::Select->new($s)->can_read(0.5) if $bytes->($id) ne '';
	close $s;
}
for my $what (sort keys %bad_answer) {
	my ($bytes, $re) = @{$bad_answer{$what}};

	ok(says(qr/(cannot talk to a server: to=|closing connection: peer=)\Q$there\E .*error="[^\n]*$re/s, sub { answer_with($bytes) }),
		"who $what is told in the log");
}
{
	my $x = connect_peer();

	$x->hello(%member, Address => $there);
	my $s = $listener->accept;
	my (undef, undef, $number, $id, $body) = Frame::read_frame($s, 10);
	my $options = Frame::unpack_value(\$body);
	my $hello = Frame::unpack_value(\$body);
	is($hello->{ID}, $own->{ID}, 'the server greets by its id');
	is($hello->{Cluster}, $own->{Cluster}, 'its cluster');
	is($hello->{Address}, "127.0.0.1:$port", 'and its address');
	syswrite $s, reply($good)->($id);
	ok(says(qr/connected: to=\Q$there\E/, sub { 1 }), 'and is connected');
	# It is asked for its vote, and says no in a word that only the connection of its own carries.
	$x->post('peer.raft', { Type => 1, From => 0xaa, To => $ours, Term => 3, PrevIndex => 1, PrevTerm => 1 });
	my ($kind, undef, $op, $rid, $answer) = Frame::read_frame($s, 10);
	is($kind, 6, 'a message is answered by a post');
	Frame::unpack_value(\$answer);
	my $m = Frame::unpack_value(\$answer);
	is($m->{To}, 0xaa, 'to whom it came from');
	close $x->{sock};
	is(IO::Select->new($s)->can_read(10) ? sysread($s, my $rest, 1 << 20) // 0 : -1, 0, 'and left alone when it goes');
}
alive('after bad answers');

# ---- memory and places
sub rss
{
	open my $f, '<', "/proc/$d->{pid}/status" or die;
	return (map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$f>)[0];
}
{
	my $before = rss();
	my @many = map { my $x = connect_peer(); $x->hello(ID => sprintf('%016x', 0x1000 + $_), Purpose => 'forward'); $x } 1 .. 15;

	$_->raw(header(700 << 20, 1, 0, $op{'kv.apply'}, 2) . 'x' x 1000) for @many;
	alive('fifteen promises of 700 MiB');
	cmp_ok(rss() - $before, '<', 64 * 1024, 'cost no memory');
}
{
	my @many = map { IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port) } 1 .. 60;

	ok(says(qr/refusing connection: peer=\S+ error="there are \d+ connections already, 20 from this host"/, sub { my @x = map { connect_peer() } 1 .. 25 }),
		'one host has so many connections');
	alive('with more');
}
ok($d->wait_log(qr/more lines of this kind are left out/), 'the log is not filled');
my ($meta, $info);
for (1 .. 100) {
	($meta, $info) = $d->ask('daemon.info');
	last if $info->{raftd}{connections} < 3;
	select undef, undef, undef, 0.1;
}
cmp_ok($info->{raftd}{connections}, '<', 3, 'connections were given back');
unlike($d->log, qr/AddressSanitizer|runtime error|assert/i, 'nothing broke');
is($d->stop, 0, 'it ends in order');

done_testing;
