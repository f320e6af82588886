#!/usr/bin/perl
# What strangers may send: mutated and random packets, bombs, streams that lie or sleep, members that may not be.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Pool;
use Socket;
use Test::More;
use Time::HiRes qw(time);

# What has been freed shall not count as memory that is held.
$ENV{ASAN_OPTIONS} = join ':', grep { defined } $ENV{ASAN_OPTIONS}, 'quarantine_size_mb=1', 'thread_local_quarantine_size_kb=64';

my $seed = $ENV{TEST_SEED} // time ^ $$;
srand $seed;
note("seed $seed");

my $vectors = JSON::PP::decode_json(do { open my $f, '<', "$ENV{SRCDIR}/t/data/gossip/vectors.json" or die $!; local $/; <$f> })->{vectors};
my @packets = map { pack 'H*', $_->{hex} } grep { ($_->{transport} // '') ne 'tcp' } @$vectors;
my @streams = map { pack 'H*', $_->{hex} } grep { ($_->{transport} // '') eq 'tcp' } @$vectors;
cmp_ok(scalar @packets, '>', 20, 'packets to begin with');
cmp_ok(scalar @streams, '>', 5, 'and streams');

my $key = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
my $pool = Pool->new;
my ($a, $b) = $pool->form(2);
ok($pool->wait_members({ n1 => 1, n2 => 1 }), 'a pool');
my $sealed_pool = Pool->new(slice => { encrypt => $key });
my ($s, $t) = $sealed_pool->form(2);
ok($sealed_pool->wait_members({ n1 => 1, n2 => 1 }), 'and a sealed one');

socket my $udp, PF_INET, SOCK_DGRAM, 0 or die $!;
bind $udp, sockaddr_in(0, inet_aton(Pool::address())) or die $!;

sub throw
{
	my ($m, $bytes) = @_;

	send $udp, $bytes, 0, sockaddr_in($m->{lan}, inet_aton($m->{ip}));
}

# Some bytes otherwise, fewer, more, twice.
sub mutate
{
	my ($p) = @_;

	for (1 .. 1 + int rand 4) {
		my $at = length $p ? int rand length $p : 0;
		my $how = int rand 6;
		if ($how == 0) { substr $p, $at, 1, chr int rand 256 if length $p }
		elsif ($how == 1) { $p = substr $p, 0, $at }
		elsif ($how == 2) { substr $p, $at, 0, join '', map { chr int rand 256 } 1 .. int rand 8 }
		elsif ($how == 3) { substr $p, $at, 4, "\xff\xff\xff\xff" if length($p) > $at + 4 }
		elsif ($how == 4) { substr $p, $at, 0, substr $p, int rand(1 + length $p) }
		else { substr $p, $at, 1, chr(ord(substr $p, $at, 1) ^ 1 << int rand 8) if length $p }
	}
	return substr $p, 0, 60000;
}

sub rss { open my $f, '<', "/proc/$_[0]{pid}/status" or return 0; local $/; return <$f> =~ /^VmRSS:\s+(\d+)/m ? $1 / 1024 : 0 }

sub dial
{
	my ($m) = @_;

	return IO::Socket::INET->new(PeerAddr => $m->{ip}, PeerPort => $m->{lan}, Timeout => 10);
}

# Whether it is closed by the other end within so many seconds.
sub closed
{
	my ($c, $seconds) = @_;

	return Pool::until(sub {
		return 0 if !IO::Select->new($c)->can_read(0.1);
		my $n = sysread $c, my $got, 65536;
		return !$n;
	}, $seconds);
}

# Whether both see both alive; others may have come out of the packets.
sub alive_pair { return Pool::until(sub { !grep { my $x = $_->status; ($x->{n1} // 0) != 1 || ($x->{n2} // 0) != 1 } $a, $b }) }

my %before = (a => rss($a), s => rss($s));

# ---- packets
for my $m ($a, $s) {
	my $n = 0;
	for my $p (@packets) {
		throw($m, $p);
		for (1 .. 25) {
			throw($m, mutate($p));
			# What the system drops for want of room proves nothing.
			select undef, undef, undef, 0.002 if ++$n % 50 == 0;
		}
	}
	throw($m, join '', map { chr int rand 256 } 1 .. int rand 1500) for 1 .. 300;
	throw($m, chr $_) for 0 .. 255;
	throw($m, '');
	throw($m, "\x07" . chr(255) . "\x00" x 600);
	throw($m, ("\x07\x01" . pack('n', 60)) x 200 . 'x');
}
ok($a->want('gossip.size'), 'it answers after mutated and random packets');
ok($s->want('gossip.size'), 'the sealed one too');
my $i = $a->info->{gossipd};
cmp_ok($i->{$_}, '>', 0, "counted: $_") for grep { /^lan_dropped_message_malformed$/ } keys %$i;
cmp_ok(Pool::until(sub { my $x = $s->info->{gossipd}; my $sum = 0; $sum += $x->{$_} for grep { /^lan_dropped_(not_sealed|no_key)/ } keys %$x; return $sum }), '>', 1000,
	'what is not sealed is dropped and counted');
ok($s->sees({ n1 => 1, n2 => 1 }), 'and makes no members');
my @dropped = grep { /packet dropped: / } split /\n/, $s->log;
cmp_ok(scalar @dropped, '<', 100, 'the log is not flooded');
ok(scalar(grep { /more lines of this kind are left out/ } @dropped), 'and says that it leaves lines out');

# ---- bombs: LZW codes of ever longer runs of zeros
sub bomb
{
	my ($codes) = @_;
	my ($bits, $nbits, $out) = (0, 0, '');
	my $put = sub {
		my ($code, $width) = @_;
		$bits |= $code << $nbits;
		$nbits += $width;
		while ($nbits >= 8) {
			$out .= chr($bits & 255);
			$bits >>= 8;
			$nbits -= 8;
		}
	};
	my ($hi, $width) = (257, 9);
	$put->(256, 9);
	for my $i (1 .. $codes) {
		$put->($hi == 257 ? 0 : $hi, $width);
		if (++$hi == 4095) {
			$put->(256, $width);
			($hi, $width) = (257, 9);
		}
		$width++ if $hi == 512 || $hi == 1024 || $hi == 2048;
	}
	$put->(257, $width);
	return $out . ($nbits ? chr($bits & 255) : '');
}

sub compressed { my ($b) = @_; return "\x09\x82\xa4Algo\x00\xa3Buf\xdb" . pack('N', length $b) . $b }
my $bomb = compressed(bomb(30000));
throw($a, $bomb) for 1 .. 20;
throw($a, compressed($bomb));
my $nested = "\x00\x80";
$nested = compressed("\x00") for 1 .. 3;
throw($a, "\x07\x01" . pack('n', length $nested) . $nested);
ok(Pool::until(sub { my $x = $a->info->{gossipd}; my $sum = 0; $sum += $x->{$_} for grep { /^lan_dropped_/ && /too_much|compress|layers/ } keys %$x; return $sum >= 20 }),
	'bombs in packets are dropped and counted') or diag(explain($a->info->{gossipd}));

# ---- streams
my @open;
for my $m ($a, $s) {
	for my $p (@streams, map { mutate($_) } (@streams) x 10) {
		my $c = dial($m) or next;
		local $SIG{PIPE} = 'IGNORE';
		syswrite $c, $p if length $p;
		shutdown $c, 1;
		push @open, $c;
		shift @open if @open > 40;
	}
	is(ref $m->members, 'ARRAY', 'it answers after mutated streams');
}
@open = ();
my $big = compressed(bomb(7_000_000));
for (1 .. 3) {
	my $c = dial($a);
	local $SIG{PIPE} = 'IGNORE';
	my $at = 0;
	while ($at < length $big) {
		my $n = syswrite $c, $big, 65536, $at;
		last if !defined $n;
		$at += $n;
	}
	ok(closed($c), 'a bomb in a stream ends it');
}

# Lengths that promise what does not come.
for my $lie ("\x0a\xff\xff\xff\xff" . 'x' x 100, "\x0a" . pack('N', 20 * 1024 * 1024 + 1), "\x06\x83\xa4Join\xc2\xa5Nodes\xce\xff\xff\xff\xff\xacUserStateLen\x00",
	"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce\xff\xff\xff\xff", "\x08\x81\xaaUserMsgLen\xcf" . "\xff" x 8, "\x06" . "\x91" x 5000, "\xff", "\x0d\x81\xa5Error\xa1x") {
	my $c = dial($a);
	syswrite $c, $lie;
	shutdown $c, 1;
	ok(closed($c), sprintf 'a stream that lies: %s', unpack 'H16', $lie);
}

# More than may be at a time, and all asleep; then one of them is needed.
my @sleepers = grep { defined } map { dial($a) } 1 .. 200;
syswrite $_, "\x06" for @sleepers[0 .. 50];
ok(Pool::until(sub { $a->count('lan_dropped_stream_crowded') > 0 }), 'too many streams at a time are turned away');
ok(alive_pair(), 'the pool does not suffer');
ok(Pool::until(sub { $a->count('lan_dropped_stream_late') >= 50 }), 'those that sleep are ended in time');
@sleepers = ();
ok(Pool::until(sub { my ($m, $r) = $b->ask('gossip.join', { Addrs => [$a->address] }); defined $m }), 'then a stream is served again');

# A drop at a time: never whole.
my $slow = dial($a);
{
	local $SIG{PIPE} = 'IGNORE';
	my $end = time + 25;
	syswrite $slow, compressed('x' x 1000) =~ s/.{900}\z//sr;
	1 while time < $end && !IO::Select->new($slow)->can_read(0.2) && defined syswrite $slow, 'x';
	cmp_ok(time, '<', $end, 'a slow stream');
}
ok(closed($slow, 20), 'is ended');

# ---- members that may not be: an alive message for each, as a member would send it
sub text { my ($x) = @_; return length $x < 32 ? chr(0xa0 + length $x) . $x : "\xda" . pack('n', length $x) . $x }
sub alive
{
	my (%m) = @_;
	my $tags = $m{tags};
	my $meta = $m{meta} // "\xff" . chr(0x80 + keys %$tags) . join '', map { text($_) . text($tags->{$_}) } sort keys %$tags;

	return "\x04\x86" . text('Addr') . text($m{addr} // inet_aton($m{ip})) . text('Incarnation') . "\xce" . pack('N', $m{incarnation} // 1) .
		text('Meta') . text($meta) . text('Node') . text($m{name}) . text('Port') . "\xcd" . pack('n', $m{port} // 1) .
		text('Vsn') . text($m{vsn} // "\x01\x05\x02\x02\x05\x04");
}
my %ok_tags = (role => 'node', dc => 'dc1', segment => '', id => '11111111-2222-3333-4444-555555555555');
my $refused = $a->count('lan_dropped_member_refused');
my @bad = (
	{ name => 'wrongdc', tags => { %ok_tags, dc => 'west' } }, { name => 'nodc', tags => { role => 'node' } },
	{ name => 'segment', tags => { %ok_tags, segment => 'x' } }, { name => 'ourid', tags => { %ok_tags, id => $a->{slice}{node_id} } },
	{ name => 'noaddr', addr => '', tags => \%ok_tags }, { name => 'fiveaddr', addr => 'xxxxx', tags => \%ok_tags },
	{ name => 'longmeta', meta => "\xff" . 'x' x 600 }, { name => 'badmeta', meta => "\xff\x93\x01" }, { name => '', tags => \%ok_tags },
	{ name => 'zero', tags => \%ok_tags, incarnation => 0 }, { name => 'shortvsn', tags => \%ok_tags, vsn => "\x01" },
	{ name => 'oldvsn', tags => \%ok_tags, vsn => "\x00\x00\x00\x00\x00\x00" }, { name => 'x' x 600, tags => \%ok_tags },
);
throw($a, alive(ip => '127.99.99.99', %$_)) for @bad;
throw($a, alive(name => 'n1', ip => '127.99.99.99', incarnation => 1000, tags => { %ok_tags, id => 'x' }));
ok(Pool::until(sub { throw($a, alive(name => 'last', ip => '127.99.99.99', tags => \%ok_tags)); exists $a->status->{last} }), 'one that may be is taken,');
my %is = %{$a->status};
is_deeply([grep { exists $is{$_} } map { $_->{name} } @bad], [], 'none of the others') or diag(explain([map { "$_->{Name} $_->{Addr}" } @{$a->members}]));
is((grep { $_->{Name} eq 'n1' } @{$a->members})[0]{Addr}, $a->{ip}, 'nor is our own name moved');
cmp_ok($a->count('lan_dropped_member_refused'), '>=', $refused + 4, 'refusals are counted');
like($a->log, qr/ignoring alive message for 'wrongdc': Member 'wrongdc' part of wrong datacenter 'west'/, 'and told');

# ---- events and intents of nobody, by the thousand
throw($a, "\x08\x03\x84" . text('CC') . "\xc2" . text('LTime') . "\xce" . pack('N', 1000 + $_ % 200) . text('Name') . text("ev$_") . text('Payload') . text('x' x 200)) for 1 .. 3000;
throw($a, "\x08\x00\x83" . text('LTime') . "\xce" . pack('N', 50) . text('Node') . text("ghost$_") . text('Prune') . "\xc2") for 1 .. 5000;
throw($a, "\x08\x03\x84" . text('CC') . "\xc2" . text('LTime') . "\xcf" . "\xff" x 8 . text('Name') . text('late') . text('Payload') . text(''));
my $nth = 0;
ok(Pool::until(sub {
	throw($a, "\x08\x03\x84" . text('CC') . "\xc2" . text('LTime') . "\xcd\x20\x00" . text('Name') . text('consul:event:x' . $nth++) . text('Payload') . text("\xdf\xff\xff\xff\xff"));
	return $a->info->{gossipd}{events_malformed} > 0;
}), 'an event that cannot be read is counted');
ok($a->want('gossip.event_fire', { Name => 'still' }), 'events work on');

# ---- after all that
ok(alive_pair(), 'the members are who they were');
cmp_ok(rss($a) - $before{a}, '<', 100, sprintf 'memory is bounded: %d MiB, %d before', rss($a), $before{a});
cmp_ok(rss($s) - $before{s}, '<', 100, sprintf 'of the sealed one too: %d MiB, %d before', rss($s), $before{s});

# ---- all that a stranger can make one hold
sub put { my ($c, $bytes) = @_; die "no connection: $@" if !$c; local $SIG{PIPE} = 'IGNORE'; my $at = 0; while ($at < length $bytes) { $at += syswrite($c, $bytes, 65536, $at) // last } return $c }
sub push_pull { my ($n, $rows, $state) = @_; return "\x06\x83" . text('Join') . "\xc3" . text('Nodes') . "\xce" . pack('N', $n) . text('UserStateLen') . "\xce" . pack('N', length $state) . $rows . $state }
sub row { my ($name, $meta) = @_; return "\x87" . text('Addr') . text("\x7f\x09\x09\x09") . text('Incarnation') . "\x01" . text('Meta') . text($meta) . text('Name') . text($name) . text('Port') . "\xcd\x20\x00" . text('State') . "\x00" . text('Vsn') . text("\x01\x05\x02\x02\x05\x04") }
sub begun { my ($bytes, $of) = @_; return "\x06\x83" . text('x') . "\xdb" . pack('N', $of) . 'x' x $bytes }
sub peak { open my $f, '<', "/proc/$_[0]{pid}/status" or return 0; local $/; return <$f> =~ /^VmHWM:\s+(\d+)/m ? $1 / 1024 : 0 }
my $open_pool = Pool->new;
my $o = $open_pool->add(server => 0);
my $at_first = peak($o);
for my $n ([60_000, 500_000, 120], [3_500_000, 3_900_000, 20]) {
	my @held = map { put(dial($o), begun(@$n[0, 1])) } 1 .. $n->[2];
	ok($o->want('gossip.size'), "$n->[2] streams that stop at $n->[0] bytes");
}
my $state = "\x02\x86" . text('EventLTime') . "\x01" . text('Events') . "\xdd" . pack('N', 900_000) . "\xc0" x 900_000 . text('LTime') . "\x01" . text('LeftMembers') .
	"\xdd" . pack('N', 900_000) . "\xa0" x 900_000 . text('QueryLTime') . "\x01" . text('StatusLTimes') . "\x80";
for my $p (push_pull(32768, "\x80" x 32768, ''), push_pull(200_000, "\x80" x 200_000, ''), push_pull(5000, join('', map { row("t$_", "\xff\xde" . pack('n', 250) . "\xa0\xa0" x 250) } 1 .. 5000), ''), push_pull(0, '', $state)) {
	ok(closed(put(dial($o), $p)), 'a push/pull that means nothing but memory is over soon');
}
for my $round (1 .. 8) {
	closed(put(dial($o), push_pull(4000, join('', map { row("m$round-$_" . 'z' x 200, "\xff\x81\xa1x" . text('y' x 500)) } 1 .. 4000), '')));
}
cmp_ok($o->info->{serf_lan}{members}, '<=', 16384, 'where anybody can make members up there is an end to them');
cmp_ok($o->info->{serf_lan}{members}, '>', 5000, 'which is far away');
{
	my @held = map { put(dial($o), push_pull(0, '', '')) } 1 .. 120;
	ok(Pool::until(sub { $o->count('lan_dropped_stream_crowded') > 0 }), 'answers that nobody takes are few at a time');
}
cmp_ok(peak($o) - $at_first, '<', 150, sprintf 'at most a few tens of MiB, more under a sanitizer: %d, %d before', peak($o), $at_first);

# ---- only from allowed networks
my $guarded = Pool->new;
my $g = $guarded->add(server => 0);
my $near = (split /\./, $g->{ip})[1];
$g->restart(serf_lan_allowed_cidrs => ["$g->{ip}/32"]);
my $h = $guarded->add(server => 0);
my ($m, $r) = $h->ask('gossip.join', { Addrs => [$g->address] });
ok(!defined $m, 'a network that is not allowed does not join');
ok(Pool::until(sub { throw($g, alive(name => 'far', ip => '127.99.99.99', tags => \%ok_tags)); $g->count('lan_dropped_packet_network') > 0 && $g->count('lan_dropped_stream_network') > 0 }), 'which is counted');
ok($g->sees({ n1 => 1 }), 'and knows nobody');
$g->restart(serf_lan_allowed_cidrs => ['127.0.0.0/8']);
ok($h->join($g), 'an allowed one joins');
ok(Pool::until(sub { throw($g, alive(name => 'far', ip => '10.1.1.1', tags => \%ok_tags)); $g->log =~ /ignoring alive message for 'far': its address is not in an allowed network/ }), 'a member elsewhere is not taken');
my $bad = $guarded->add(server => 0, serf_lan_allowed_cidrs => ['10.0.0.0/40'], ready => 0);
is($bad->wait >> 8, 78, 'a network that is none is a failure to start');
like($bad->log, qr{serf_lan_allowed_cidrs is not a list of networks: entry="10\.0\.0\.0/40"}, 'with a sentence');
pop @{$guarded->{members}};

for my $x ($a, $b, $s, $t, $g, $h, $o) {
	unlike($x->log, qr/runtime error|Sanitizer/, 'nothing was wrong');
	is($x->stop >> 8, 0, 'ends with 0');
}
done_testing;
