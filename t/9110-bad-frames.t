#!/usr/bin/perl
# Broken, oversized and mutated frames on the socket of every daemon and of the agent: that connection ends, nothing else does.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use Node;
use Raw;

$SIG{PIPE} = 'IGNORE';

my $n = Node->new(wait => 'agent');
my %pids = $n->pids;
my $run = "$n->{data_dir}/run";
my @all = qw(raftd gossipd httpd dnsd checkd consulctl);
my $empty = "\x80";

sub header { pack 'NCCnN', @_ }
sub request { my ($op, $id, $body) = @_; return header(length $body, 1, 0, $op, $id) . $body }
sub connect_to { return IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => "$run/$_[0].sock") // die "$_[0]: $!" }
sub rss { my ($pid) = @_; my ($kb) = Node::_slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m; return $kb / 1024 }
sub pid_of { return $_[0] eq 'consulctl' ? $n->{pid} : $pids{$_[0]} }

# What comes back until the daemon closes; undef when it does not within the time.
sub until_closed
{
	my ($s, $wait) = @_;
	my $got = '';

	while (IO::Select->new($s)->can_read($wait // 10)) {
		my $k = sysread $s, $got, 65536, length $got;
		return $got if !$k;
	}
	return undef;
}

sub info { my ($name) = @_; return (Frame::Client->new("$run/$name.sock")->ask('daemon.info'))[1] }

# ---- garbage of every kind, to all of them

my $info_op = $Frame::OP{'daemon.info'};
my %garbage = (
	'another protocol' => "GET / HTTP/1.1\r\n\r\n", 'zeros' => "\0" x 64, 'ones' => "\xff" x 4096,
	'an unknown operation' => request(499, 1, $empty), 'one beyond the table' => request(65535, 1, $empty),
	'kind 0' => header(1, 0, 0, $info_op, 1) . $empty, 'a reply' => header(1, 2, 0, $info_op, 1) . $empty,
	'an event' => header(1, 3, 0, $info_op, 1) . $empty, 'kind 255' => header(1, 255, 0, $info_op, 1) . $empty,
	'id 0' => request($info_op, 0, $empty), 'a length over the limit' => header(4097, 1, 0, $info_op, 1),
	'four gigabytes' => header(0xffffffff, 1, 0, $info_op, 1), 'an empty body' => request($info_op, 1, ''),
	'bytes left over' => request($info_op, 1, $empty x 2), 'a number for options' => request($info_op, 1, "\x07"),
	'a map of four billion' => request($info_op, 1, "\xdf\xff\xff\xff\xff"), 'half a map' => request($info_op, 1, "\x82\xa1a"),
	'deep nesting' => request($info_op, 1, "\x81\xa1x" . "\x91" x 2000 . "\xc0"), 'a type that is none' => request($info_op, 1, "\xc1"),
	'a cancel with a body' => header(1, 4, 0, $info_op, 1) . 'x', 'a credit of text' => header(2, 5, 0, $info_op, 1) . "\xa1x",
	'a credit of nothing' => header(0, 5, 0, $info_op, 1), 'a credit below nothing' => header(1, 5, 0, $info_op, 1) . "\xff",
);
for my $name (@all) {
	my @wrong;
	for my $what (sort keys %garbage) {
		my $s = connect_to($name);
		syswrite $s, $garbage{$what};
		my $got = until_closed($s);
		push @wrong, $what if !defined $got || $got ne '';
	}
	is_deeply \@wrong, [], "$name: garbage ends its connection, without an answer";

	# Nobody asked, so nothing is answered: a cancel and a credit of what is not open do no harm.
	my $s = connect_to($name);
	syswrite $s, header(0, 4, 0, $info_op, 7) . header(1, 5, 0, $info_op, 7) . "\x05" . request($info_op, 7, $empty);
	my (undef, $flags, undef, $id) = Frame::read_frame($s, 10);
	is $id, 7, "$name: answers after a cancel of nothing";
	# The same id twice is answered twice; a request in single bytes is one.
	syswrite $s, request($info_op, 9, $empty) x 2;
	is +(Frame::read_frame($s, 10))[3], 9, "$name: an id used twice" for 1 .. 2;
	for (split //, request($info_op, 10, $empty)) {
		syswrite $s, $_;
		sleep 0.001;
	}
	is +(Frame::read_frame($s, 10))[3], 10, "$name: a frame byte by byte";
	shutdown $s, 1;
	is until_closed($s), '', "$name: an end is answered by an end";
}

# ---- mutations of every request it serves, seeded

my $seed = $ENV{TEST_SEED} // 911;
srand $seed;
my %samples = (
	'kv.get' => { Key => 'a' }, 'kv.list' => { Key => '' }, 'kv.keys' => { Key => '', Separator => '/' },
	'kv.apply' => { Op => 'set', DirEnt => { Key => 'a', Value => 'x', Flags => 7 } },
	'txn.apply' => { Ops => [{ KV => [{ Verb => 'set', Entry => { Key => 'b', Value => 'y' } }] }] },
	'session.create' => { Session => { Name => 's', TTL => '30s' } }, 'session.destroy' => { ID => 'x' },
	'catalog.register' => { Node => 'm', Address => '1.1.1.1', Service => { Service => 's', Tags => ['t'], Meta => { a => 'b' } },
		Checks => [{ CheckID => 'c', Status => 'passing' }] },
	'catalog.deregister' => { Node => 'm' }, 'health.service' => { ServiceName => 's' }, 'gossip.join' => { Addrs => ['127.0.0.1:1'] },
	'gossip.force_leave' => { Node => 'nobody' }, 'agent.service_register' => { Service => { Name => 's', Port => 1, Checks => [{ TTL => '10s' }] } },
	'agent.check_register' => { Name => 'c', TTL => '10s' }, 'agent.check_update' => { CheckID => 'c', Status => 'passing', Output => 'o' },
	'daemon.log' => { LogLevel => 'debug' },
);
my %serves = (raftd => qr/^(status|kv|txn|session|catalog|health)\./, gossipd => qr/^gossip\.(?!leave)/, checkd => qr/^agent\.(service|check|health|maint)/,
	httpd => qr/^none/, dnsd => qr/^none/, consulctl => qr/^agent\.status/);
for my $name (@all) {
	my $sent = 0;
	for my $op (sort keys %Frame::OP) {
		next if $op !~ $serves{$name} && $op !~ /^daemon\.(info|metrics|log)/;
		for (1 .. 12) {
			my $body = Frame::pack_value({ MinIndex => 1, Datacenter => 'dc1' }) . Frame::pack_value($samples{$op} // {});
			for (0 .. rand 4) {
				my $at = int rand length $body;
				my $how = int rand 4;
				if ($how == 0) { substr($body, $at, 1) = chr rand 256 }
				elsif ($how == 1) { $body = substr $body, 0, $at }
				elsif ($how == 2) { substr($body, $at, 0) = substr $body, rand length $body, rand 30 }
				else { substr($body, $at, 1) = chr(0xc0 + rand 0x20) }
				last if $body eq '';
			}
			my $s = connect_to($name);
			syswrite $s, request($Frame::OP{$op}, 1, $body);
			syswrite $s, request($info_op, 2, $empty);
			IO::Select->new($s)->can_read(0.05);
			$sent++;
		}
	}
	is info($name)->{$name}{pid}, pid_of($name), "$name: $sent mutated requests (seed $seed)";
}

# ---- promises that are not kept cost nothing

{
	my $was = rss($pids{raftd});
	my @s = map { connect_to('raftd') } 1 .. 40;
	syswrite $_, header(700 << 20, 1, 0, $Frame::OP{'kv.apply'}, 1) . 'x' x 1000 for @s;
	info('raftd');
	cmp_ok rss($pids{raftd}) - $was, '<', 120, 'forty bodies of 700 MB that do not come take no memory';
	# Requests without end whose answers nobody reads: they are not read on.
	my $flood = connect_to('raftd');
	my $big = Frame::Client->new("$run/raftd.sock");
	$big->ask('kv.apply', { Op => 'set', DirEnt => { Key => "flood/$_", Value => 'f' x 100000 } }) for 1 .. 10;
	$was = rss($pids{raftd});
	$flood->blocking(0);
	my ($written, $more) = (0, request($Frame::OP{'kv.list'}, 5, $empty . Frame::pack_value({ Key => 'flood/' })));
	my $text = $more x 2000;
	for (1 .. 40) {
		my $k = syswrite $flood, $text;
		$written += $k // 0;
		sleep 0.01 if !$k;
	}
	info('raftd');
	cmp_ok rss($pids{raftd}) - $was, '<', 400, 'answers that are not taken hold up further questions, not memory (' . int($written / length $more) . ' asked)';
	close $flood;
	is +($big->ask('kv.get', { Key => 'flood/1' }))[1][0]{Key}, 'flood/1', 'others are served';
	# Large requests one way and large answers the other: neither side waits for the other to be done.
	my @lists = map { my $c = Raw->new($n); $c->send("GET /v1/kv/flood/?recurse HTTP/1.1\r\nHost: x\r\n\r\n"); $c } 1 .. 12;
	my @puts = map { Raw->new($n) } 1 .. 24;
	$_->send("PUT /v1/kv/both HTTP/1.1\r\nHost: x\r\nContent-Length: 524288\r\n\r\n" . 'p' x 524288) for @puts;
	is_deeply [map { ($_->reply // { status => 'none' })->{status} } @puts], [(200) x 24], 'large values go in';
	is_deeply [map { ($_->reply // { status => 'none' })->{status} } @lists], [(200) x 12], '... while large lists come out';
	my ($status) = $n->http('DELETE', '/v1/kv/flood/?recurse');
	is $status, 200, 'the node is well';
}

# ---- more connections than there is room for

for my $name (qw(raftd gossipd)) {
	my @s = map { connect_to($name) } 1 .. 700;
	my $waits = Frame::Client->new("$run/$name.sock");
	$waits->start('daemon.info');
	is scalar(my @none = $waits->reply(0.3)), 0, "$name: one beyond the limit waits";
	@s = ();
	ok +($waits->reply(20))[1], '... and is served when there is room';
}
my ($status) = $n->http('PUT', '/v1/kv/after', 'x');
is $status, 200, 'writes go through';

# ---- who is somebody else

SKIP: {
	skip 'only root can be somebody else', 3 if $> != 0;
	# Even where the modes of directory and socket let everybody in.
	chmod 0711, $run;
	for my $name (qw(raftd consulctl dnsd)) {
		chmod 0777, "$run/$name.sock";
		pipe my $r, my $w or die;
		my $pid = fork // die;
		if ($pid == 0) {
			chdir $run;
			$( = $) = "65534 65534";
			$< = $> = 65534;
			my $s = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => "$name.sock");
			syswrite $s, request($info_op, 1, $empty) if $s;
			my $got = $s ? until_closed($s) // 'open' : "no connection: $!";
			syswrite $w, $got eq '' ? 'refused' : $got;
			POSIX::_exit(0);
		}
		close $w;
		is join('', <$r>), 'refused', "$name: another user's connection is closed";
		waitpid $pid, 0;
	}
	ok $n->wait_log(qr/refusing connection: uid=65534 pid=\d+/), 'and logged';
}

is_deeply { $n->pids }, \%pids, 'no daemon has ended';
ok $n->wait_for(sub { !grep { info($_)->{$_}{connections} > 20 } qw(raftd gossipd dnsd checkd) }), 'connections were given back';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
