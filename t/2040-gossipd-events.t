#!/usr/bin/perl
# User events and coordinates: firing, filters, the list and waiting for it, limits, internal events.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use IO::Socket::UNIX;
use MIME::Base64;
use Pool;
use Test::More;

my $pool = Pool->new;
my ($a, $b, $c) = $pool->form(3, server => 0);
ok($pool->wait_members({ n1 => 1, n2 => 1, n3 => 1 }), 'three members');

sub fire { my ($m, $name, %o) = @_; return $m->want('gossip.event_fire', { Name => $name, %o }) }
sub names { my ($m, %q) = @_; return [map { $_->{Name} } @{$m->want('gossip.event_list', { %q })}] }

my ($meta, $list) = $a->ask('gossip.event_list', {});
is_deeply([$meta->{Index}, $list], [1, []], 'no events: index 1');

# ---- to all
my $e = fire($a, 'deploy', Payload => 'v42');
like($e->{ID}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'an event gets an ID');
is_deeply([@$e{qw(Name Payload NodeFilter ServiceFilter TagFilter Version LTime)}], ['deploy', 'v42', '', '', '', 1, 0], 'and is answered as Consul does');
ok(Pool::until(sub { "@{names($_)}" eq 'deploy' }), "$_->{node} has it") for $a, $b, $c;
($meta, $list) = $c->ask('gossip.event_list', {});
is_deeply({ %{$list->[0]}, LTime => 0 }, $e, 'as it was fired');
cmp_ok($list->[0]{LTime}, '>', 0, 'with its Lamport time');
(my $hex = $e->{ID}) =~ s/-//g;
my ($high, $low) = unpack 'Q>2', pack 'H*', $hex;
is($meta->{Index}, $high ^ $low, 'the index is made of its ID');

# ---- waiting
my $w = Frame::Client->new("$c->{dir}/gossipd.sock");
$w->start('gossip.event_list', {}, { MinIndex => $meta->{Index} });
my $wx = Frame::Client->new("$c->{dir}/gossipd.sock");
$wx->start('gossip.event_list', { Name => 'other' }, { MinIndex => 1 });
is(scalar(my @none = $w->reply(0.3)), 0, 'a wait for another event waits');
fire($b, 'two');
my (undef, $wm, $we) = $w->reply;
is_deeply([map { $_->{Name} } @$we], ['deploy', 'two'], 'until there is one; oldest first');
isnt($wm->{Index}, $meta->{Index}, 'the index differs');
is(scalar(@none = $wx->reply(0.3)), 0, 'who waits for a name goes on waiting');
fire($b, 'other');
(undef, $wm, $we) = $wx->reply;
is_deeply([map { $_->{Name} } @$we], ['other'], 'until that one comes');
is_deeply(names($c, Name => 'two'), ['two'], 'the list by name');
($meta) = $c->ask('gossip.event_list', {}, { MinIndex => 12345 });
ok($meta, 'any other index is answered at once');

# ---- filters of nodes
fire($a, 'some', NodeFilter => '^n[23]$');
ok(Pool::until(sub { (names($_))->[-1] eq 'some' }), "$_->{node} is meant") for $b, $c;
fire($a, 'fence');
ok(Pool::until(sub { (names($a))->[-1] eq 'fence' }), 'a later one has come,');
is_deeply(names($a, Name => 'some'), [], 'the one for others has not');
is(($a->ask('gossip.event_fire', { Name => 'x', TagFilter => 'a' }))[1]{Text}, 'Cannot provide tag filter without service filter', 'a tag filter alone');
like(($a->ask('gossip.event_fire', { Name => 'x', NodeFilter => '(' }))[1]{Text}, qr/^Invalid node filter: /, 'a filter that is none');
is(($a->ask('gossip.event_fire', { Name => '' }))[1]{Text}, 'User event missing name', 'no name');

# ---- filters of services: a checkd of our own answers
sub serve
{
	my ($m, $services, $times) = @_;
	my $path = "$m->{dir}/checkd.sock";
	my $l = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "$path: $!";
	my $pid = fork // die "fork: $!";
	return ($pid, $l) if $pid;
	my $conn = $l->accept;
	for (1 .. $times) {
		my (undef, undef, $op, $id) = Frame::read_frame($conn, 60) or last;
		Frame::send_frame($conn, 2, 0, $op, $id, Frame::pack_value({ Index => 1, KnownLeader => JSON::PP::true }) . Frame::pack_value($services));
	}
	POSIX::_exit(0);
}
my ($pid, $l) = serve($b, { web1 => { ID => 'web1', Service => 'web', Tags => ['v1', 'blue'] }, db => { ID => 'db', Service => 'db' } }, 4);
fire($a, 'svc', ServiceFilter => '^web$');
ok(Pool::until(sub { (names($b))->[-1] eq 'svc' }), 'a node with such a service is meant');
fire($a, 'tagged', ServiceFilter => 'web', TagFilter => '^v1$');
ok(Pool::until(sub { (names($b))->[-1] eq 'tagged' }), 'and with such a tag');
fire($a, 'untagged', ServiceFilter => 'web', TagFilter => '^v2$');
fire($a, 'unserved', ServiceFilter => 'cache');
waitpid $pid, 0;
fire($a, 'fence2');
ok(Pool::until(sub { (names($b))->[-1] eq 'fence2' }), 'a later one has come,');
is_deeply([grep { /^un/ } @{names($b)}], [], 'those for other tags and services have not');
is_deeply(names($a, Name => 'svc'), [], 'a node without services is not meant');

# ---- limits
my ($m, $r) = $a->ask('gossip.event_fire', { Name => 'big', Payload => 'x' x 600 });
is_deeply($r, { Code => 500, Text => 'user event exceeds configured limit of 512 bytes before encoding' }, 'too large');
fire($a, 'large', Payload => 'x' x 400);
ok(Pool::until(sub { (names($c))->[-1] eq 'large' }), 'large but not too large');

# ---- internal ones
fire($a, '_rexec', Payload => 'x');
ok(Pool::until(sub { "@{names($b, Internal => JSON::PP::true)}" eq '_rexec' }), 'an internal event is for who asks for such');
is_deeply([grep { /^_/ } @{names($b)}], [], 'and for nobody else');
$a->want('gossip.serf_event', { Name => 'consul:new-leader', Payload => 'n1' });
ok($c->wait_log(qr/agent\.client: New leader elected: payload=n1$/m), 'a bare event: the new leader');
$a->want('gossip.serf_event', { Name => 'other:thing' });

# ---- no more than so many are kept
for my $i (1 .. 300) {
	fire($a, "e$i");
	select undef, undef, undef, 0.01;
}
ok(Pool::until(sub { my %n = map { $_ => 1 } @{names($b)}; @{names($b)} == 256 && !grep { !$n{"e$_"} } 290 .. 300 }), 'many events');
is(scalar @{names($a)}, 256, 'the last 256 are kept');
is(names($a)->[0], 'e45', 'the oldest go');

# ---- one who joins later does not hear of old ones
my $d = $pool->add(server => 0);
is_deeply([$d->join($a), $pool->wait_members({ map { ("n$_" => 1) } 1 .. 4 })], [1, 1], 'one more member');
fire($a, 'fresh');
ok(Pool::until(sub { "@{names($d)}" eq 'fresh' }), 'hears of new events alone');

# ---- coordinates
my $coords;
ok(Pool::until(sub { $coords = $a->want('gossip.coordinates', {}); @$coords == 4 }), 'coordinates of all members');
is($coords->[0]{Node}, 'n1', 'our own first');
is(scalar @{$coords->[0]{Coord}{Vec}}, 8, 'of eight dimensions');
ok(Pool::until(sub { my $x = $a->want('gossip.coordinates', { Own => JSON::PP::true }); @$x == 1 && $x->[0]{Coord}{Error} < 1.5 }), 'ours moves with what is measured');
is_deeply($a->want('gossip.coordinates', { WAN => JSON::PP::true }), [], 'a client has none of the WAN');
my $off = $pool->add(server => 0, disable_coordinates => JSON::PP::true);
$off->join($a);
is_deeply($off->want('gossip.coordinates', {}), [], 'disable_coordinates');
for my $x ($a, $b, $c, $d, $off) {
	unlike($x->log, qr/runtime error|Sanitizer/, "$x->{node}: nothing was wrong");
	is($x->stop >> 8, 0, 'and it ends with 0');
}
done_testing;
