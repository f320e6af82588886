#!/usr/bin/perl
# Anti-entropy against a catalog that is away, refuses, fails, and differs: checkd alone, and a raftd that this script plays.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use File::Temp ();
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

my $tmp = File::Temp->newdir("checkd-$$-XXXXXX", TMPDIR => 1);
my $slice = {
	node_name => 'n1', node_id => 'aaaaaaaa-0000-0000-0000-000000000001', datacenter => 'dc1', dev_mode => JSON::PP::true,
	advertise_addr => '10.0.0.1', tagged_addresses => { lan => '10.0.0.1' }, node_meta => { rack => '1' }, log_level => 'DEBUG',
	check_update_interval => 300000,
	services => [{ ID => 'web', Name => 'web', Port => 80, Tags => ['a'], EnableTagOverride => JSON::PP::true, Check => { TTL => '1h' } }],
};

# ---- nobody there

my $d = Frame::Daemon->new('checkd', $slice, tmp => $tmp);
my $start = time;
my ($m, $r) = $d->ask('agent.service_register', { Service => { Name => 'early' } });
ok(defined $m, 'a service can be registered while raftd is away');
cmp_ok(time - $start, '<', 10, 'and is answered soon');
($m, $r) = $d->ask('agent.services', {});
is_deeply([sort keys %$r], ['early', 'web'], 'the agent shows both');
($m, $r) = $d->ask('agent.check_update', { CheckID => 'service:web', Status => 'passing', Output => 'x' });
ok(defined $m, 'a check can be updated as well');

# ---- a raftd

my $listen = IO::Socket::UNIX->new(Local => "$tmp/raftd.sock", Type => Socket::SOCK_STREAM(), Listen => 5) or die $!;
my ($conn, @writes, $batches);
my %answer;		# operation => sub { my ($options, $request) = @_; payload or { error } }

sub meta { return Frame::pack_value({ Index => 5, KnownLeader => JSON::PP::true }); }

# Each item as the operation that it is. What is refused with 403 or 418 is refused alone, any other error is that of the whole.
sub batch
{
	my ($o, $q) = @_;
	my (@results, $whole);

	for my $item (@{$q->{Items}}) {
		my ($name, $r) = $item->{Register} ? ('catalog.register', $item->{Register}[0]) : ('catalog.deregister', $item->{Deregister}[0]);
		push @writes, { op => $name, o => { %$o, Token => $item->{Token} }, q => $r };
		my $a = $answer{$name}->($o, $r);
		return undef if !defined $a;
		$whole = $a if ref $a eq 'HASH' && ($a->{raw} || $a->{error} !~ /^4(03|18)$/);
		push @results, ref $a eq 'HASH' ? { Code => $a->{error}, Text => $a->{text} } : {};
	}
	return $whole // \\@results;
}

# Serve until $code returns true.
sub serve
{
	my ($code, $seconds) = @_;
	my $end = time + ($seconds // 30);

	while (!$code->()) {
		return 0 if time > $end;
		my $set = IO::Select->new($listen, $conn // ());
		for my $fh ($set->can_read(0.05)) {
			if ($fh == $listen) {
				$conn = $listen->accept;
				next;
			}
			my ($kind, undef, $op, $id, $body) = Frame::read_frame($conn) or do { $conn = undef; next };
			next if $kind != 1;
			my ($o, $q) = (Frame::unpack_value(\$body), Frame::unpack_value(\$body));
			my $name = $Frame::NAME{$op};
			$batches++ if $name eq 'catalog.batch';
			my $a = $name eq 'catalog.batch' ? batch($o, $q) : $answer{$name}->($o, $q);
			next if !defined $a;
			if (ref $a eq 'HASH' && $a->{raw}) {
				Frame::send_frame($conn, 2, 0, $op, $id, $a->{raw});
			} elsif (ref $a eq 'HASH' && $a->{error}) {
				Frame::send_frame($conn, 2, 1, $op, $id, Frame::pack_value({ Code => $a->{error}, Text => $a->{text} }));
			} else {
				Frame::send_frame($conn, 2, 0, $op, $id, meta() . Frame::pack_value($$a));
			}
		}
	}
	return 1;
}

my ($services, $checks) = ([], []);
my $node;
%answer = (
	'catalog.node_services' => sub { \{ Node => $node, Services => $services } },
	'health.node' => sub { \$checks },
	'catalog.register' => sub { \JSON::PP::true },
	'catalog.deregister' => sub { \JSON::PP::true },
);
my $asked = 0;
my $good = $answer{'catalog.node_services'};
$answer{'catalog.node_services'} = sub { return ++$asked < 4 ? { error => 500, text => 'No cluster leader' } : $good->() };
ok(serve(sub { @writes >= 2 }), 'it is asked again until it has a leader');
cmp_ok($asked, '>=', 4, 'several times at the start');
my ($early) = grep { $_->{q}{Service}[0]{ID} eq 'early' } @writes;
my ($web) = grep { $_->{q}{Service}[0]{ID} eq 'web' } @writes;
is_deeply([@{$web->{q}}{qw(ID Node Address Datacenter)}], [$slice->{node_id}, 'n1', '10.0.0.1', 'dc1'], 'a write names the node');
is_deeply($web->{q}{NodeMeta}, { 'consul-network-segment' => '', rack => '1' }, 'with its metadata');
is_deeply([map { "$_->{CheckID} $_->{Status}" } @{$web->{q}{Checks}}], ['service:web passing'], 'and the service with its checks');
is(length $web->{o}{Origin}, 16, 'writes are stamped');
is($batches, 1, 'all of them at once');
is_deeply([map { $_->{o}{Seq} } @writes], [1, 1], 'with one number');
is(scalar(grep { !$_->{q}{SkipNodeUpdate} } @writes), 1, 'the node is written once while the catalog lacks it');
ok(serve(sub { $d->log =~ /Synced service: service=early/ && $d->log =~ /Synced service: service=web/ && $d->log =~ /Synced node info/ }),
	'and the log tells');

# A change of a status goes at once, and alone.
@writes = ();
$d->start('agent.check_update', { CheckID => 'service:web', Status => 'warning', Output => 'y' });
ok(serve(sub { @writes >= 1 }), 'a status is pushed at once');
is($writes[0]{q}{Check}[0]{Status}, 'warning', 'as it is');
ok($writes[0]{q}{SkipNodeUpdate}, 'without the node, which the catalog has');
$d->reply;
@writes = ();
$d->start('agent.check_update', { CheckID => 'service:web', Status => 'warning', Output => 'z' });
ok(!serve(sub { @writes >= 1 }, 1), 'an output alone waits');
$d->reply;

# A failed write is repeated; the same service twice is one entry.
@writes = ();
$answer{'catalog.register'} = sub { { error => 500, text => 'raft is not the leader' } };
$d->start('agent.service_register', { Service => { Name => 'late', Port => 1 } });
ok(serve(sub { $d->log =~ /failed to sync changes: error="raft is not the leader"/ }), 'a failed write is told');
$d->reply;
$answer{'catalog.register'} = sub { \JSON::PP::true };
$d->start('agent.service_register', { Service => { Name => 'late', Port => 2 } });
@writes = ();
ok(serve(sub { @writes >= 1 }), 'and tried again with the next registration');
is($writes[0]{q}{Service}[0]{Port}, 2, 'as it is by then');
serve(sub { $d->log =~ /Synced service: service=late/ });
$d->reply;

# The peer dies with a write on its way: it is sent again, with the same stamp.
@writes = ();
$answer{'catalog.register'} = sub { undef };
$d->start('agent.service_register', { Service => { Name => 'twice' } });
serve(sub { @writes >= 1 });
my $seq = $writes[0]{o}{Seq};
close $conn;
$conn = undef;
@writes = ();
$answer{'catalog.register'} = sub { \JSON::PP::true };
ok(serve(sub { @writes >= 1 }), 'a write whose answer was lost is sent again');
is($writes[0]{o}{Seq}, $seq, 'with its first number');
serve(sub { $d->log =~ /Synced service: service=twice/ });
$d->reply;

# ---- a restart finds what the catalog has: tags that others own, ghosts, and what is equal

is($d->stop, 0, 'SIGTERM');
$services = [
	{ ID => 'web', Service => 'web', Port => 80, Tags => ['b', 'c'], Weights => { Passing => 1, Warning => 1 }, EnableTagOverride => JSON::PP::true },
	{ ID => 'ghost', Service => 'ghost', Weights => { Passing => 1, Warning => 1 } },
	{ ID => 'consul', Service => 'consul', Port => 8300, Weights => { Passing => 1, Warning => 1 } },
];
$checks = [
	{ Node => 'n1', CheckID => 'serfHealth', Name => 'Serf Health Status', Status => 'passing' },
	{ Node => 'n1', CheckID => 'ghost-check', Name => 'g', Status => 'passing', ServiceID => 'ghost', ServiceName => 'ghost' },
	{ Node => 'n1', CheckID => 'stray', Name => 's', Status => 'passing' },
	{ Node => 'n1', CheckID => 'service:web', Name => q(Service 'web' check), Status => 'critical', ServiceID => 'web', ServiceName => 'web',
		ServiceTags => ['a'], Type => 'ttl', Interval => '0s', Timeout => '0s' },
];
$node = { ID => $slice->{node_id}, Node => 'n1', Address => '10.9.9.9', TaggedAddresses => { lan => '10.0.0.1' },
	Meta => { 'consul-network-segment' => '', rack => '1' } };
@writes = ();
$conn = undef;
my @garbled = ("\xc1", meta(), meta() . "\x93\x01\x02\x03", meta() . Frame::pack_value({ Services => [{ ID => { a => 1 } }] }));
$answer{'catalog.node_services'} = sub { @garbled ? { raw => shift @garbled } : $good->() };
$d->spawn;
$d->connect;
ok(serve(sub { $d->log =~ /Deregistered service: service=ghost/ && $d->log =~ /Deregistered check: check=stray/ }), 'ghosts are deregistered');
like($d->log, qr/failed to sync remote state: error="malformed/, 'garbled answers are told and asked for again');
is_deeply([sort map { "$_->{op} " . ($_->{q}{ServiceID} // $_->{q}{CheckID} // '?') } @writes],
	['catalog.deregister ghost', 'catalog.deregister stray'], 'and nothing else is written');
($m, $r) = $d->ask('agent.services', {});
is_deeply($r->{web}{Tags}, ['b', 'c'], 'tags that may be overridden are taken over');

# A refusal by ACLs is told, not repeated.
$answer{'catalog.register'} = sub { { error => 403, text => 'Permission denied' } };
@writes = ();
$d->start('agent.service_register', { Service => { Name => 'denied' } });
ok(serve(sub { $d->log =~ /blocked by ACLs: service=denied error="Permission denied"/ }), 'a denied registration is told');
$d->reply;
ok(!serve(sub { @writes > 1 }, 1), 'and not tried again at once');
unlike($d->log, qr/Synced service: service=denied/, 'nor said to be done');

# Reload of the slice: other metadata, another service.
$d->write_slice({ %$slice, node_meta => { rack => '2' }, services => [@{$slice->{services}}, { Name => 'second' }] });
@writes = ();
$d->start('daemon.reload');
ok(serve(sub { grep { ($_->{q}{NodeMeta}{rack} // '') eq '2' && !$_->{q}{SkipNodeUpdate} } @writes }), 'a reload changes the node\'s metadata');
($m, $r) = ($d->reply)[1, 2];
is($r, '', 'nothing needs a restart');
$d->write_slice({ %$slice, check_update_interval => 1, services => [{ Name => '' }] });
($m, $r) = $d->ask('daemon.reload');
is($r->{Text}, 'checkd: Failed to register service "": Missing service name', 'a bad definition refuses the reload');
($m, $r) = $d->ask('agent.services', {});
ok($r->{second}, 'and leaves all as it was');
$d->write_slice({ %$slice, check_update_interval => 1 });
($m, $r) = $d->ask('daemon.reload');
is($r, 'check_update_interval', 'what needs a restart is named');
($m, $r) = $d->ask('daemon.info');
is($r->{agent}{services}, 1, 'info counts: web, since what the API brought was nowhere kept');

is($d->stop, 0, 'a clean end');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');

# At start a bad definition is a failure to start.
my $bad = Frame::Daemon->new('checkd', { %$slice, services => [{ Name => 'x', Check => { Args => ['true'], Interval => '1s' } }] }, ready => 0);
is($bad->wait >> 8, 78, 'a refused definition at start exits 78');
like($bad->log, qr/Failed to register service "x": Scripts are disabled on this agent; to enable/, 'and says why');
done_testing;
