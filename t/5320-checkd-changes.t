#!/usr/bin/perl
# What a reload leaves alone of checks that are as before, outputs that are held back, and writes that meet each other.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

my $ip = sprintf '127.%d.%d.%d', 64 + ($$ >> 16 & 63), $$ >> 8 & 255, 1 + ($$ & 127);
my $tmp = File::Temp->newdir("checkd-$$-XXXXXX", TMPDIR => 1);
my $true = JSON::PP::true;
my $BODY = 8 << 20;

sub target { my ($port) = @_; return IO::Socket::INET->new(LocalAddr => $ip, LocalPort => $port // 0, Listen => 64, ReuseAddr => 1, Proto => 'tcp') // die "listen: $!" }
my ($fails, $often, $takes) = map { target() } 1 .. 3;
my $at = sub { return "$ip:" . $_[0]->sockport };
my @checks = (
	{ CheckID => 'ttl', TTL => '6s' },
	{ CheckID => 'counted', TCP => $at->($fails), Interval => '1s', FailuresBeforeCritical => 5 },
	{ CheckID => 'regular', TCP => $at->($often), Interval => '3s' },
	{ CheckID => 'long', HTTP => 'http://' . $at->($takes) . '/', Method => 'POST', Body => 'x' x $BODY, Interval => '1s', Timeout => '120s' },
);
my $slice = {
	node_name => 'n1', node_id => 'aaaaaaaa-0000-0000-0000-000000000001', datacenter => 'dc1', dev_mode => $true,
	advertise_addr => '10.0.0.1', tagged_addresses => { lan => '10.0.0.1' }, log_level => 'DEBUG', check_update_interval => 300000,
	services => [{ Name => 'app', Checks => \@checks }],
};

# ---- a catalog that this script keeps
my (%services, %checks, @refuse, $wait);
my $f = FakeDaemons->new("$tmp",
	gossipd => { 'gossip.size' => sub { \1 }, 'gossip.members' => sub { undef }, 'gossip.coordinates' => sub { \[] } },
	raftd => {
		'coordinate.update' => sub { \undef },
		'catalog.node_services' => sub { \{ Node => { Node => 'n1', ID => $slice->{node_id}, TaggedAddresses => $slice->{tagged_addresses},
			Meta => { 'consul-network-segment' => '' } }, Services => [map { $services{$_} } sort keys %services] } },
		'health.node' => sub { \[map { $checks{$_} } sort keys %checks] },
		'catalog.register' => sub {
			my ($o, $q) = @_;
			my ($s) = @{$q->{Service} // []};

			return undef if $wait;
			return shift @refuse if @refuse && ($s->{ID} // '') eq 'refused';
			$services{$s->{ID}} = $s if $s;
			$checks{$_->{CheckID}} = $_ for @{$q->{Check} // []}, @{$q->{Checks} // []};
			return \$true;
		},
		'catalog.deregister' => sub {
			my ($o, $q) = @_;

			return undef if $wait;
			delete $services{$q->{ServiceID} // ''};
			delete $checks{$q->{CheckID} // ''};
			delete @checks{grep { ($checks{$_}{ServiceID} // '') eq $q->{ServiceID} } keys %checks} if $q->{ServiceID};
			return \$true;
		},
	});
my $d = Frame::Daemon->new('checkd', $slice, tmp => $tmp, ready => 0);
my (@runs, $long);

# Somebody who has nothing else to do notes when it is connected to.
pipe my $out, my $in or die "pipe: $!";
my $noter = fork // die "fork: $!";
if ($noter == 0) {
	close $out;
	close $fails;
	alarm 300;
	while (my $c = $often->accept) {
		syswrite($in, pack 'd', time) or last;
	}
	POSIX::_exit(0);
}
close $in;

# What comes to the other target is taken, but not answered.
sub look
{
	my $data;

	push @runs, unpack 'd', $data if IO::Select->new($out)->can_read(0) && sysread $out, $data, 8;
	$long //= $takes->accept if IO::Select->new($takes)->can_read(0);
	return 1;
}
sub serve { my ($code, $seconds) = @_; return $f->serve(sub { look(); $code->() }, $seconds // 60) }
sub ask
{
	my ($op, @q) = @_;
	my $id = $d->start($op, @q);
	my @r;

	serve(sub { return 0 if !IO::Select->new($d->{sock})->can_read(0); @r = $d->reply or die "no answer:\n" . $d->log; $r[0] == $id });
	return $r[2];
}
sub reload { my ($more) = @_; $d->write_slice({ %$slice, %{$more // {}} }); return ask('daemon.reload') }
sub state { my ($id) = @_; return ask('agent.checks', {})->{$id} }
sub update { my ($id, $status, $output) = @_; ask('agent.check_update', { CheckID => $id, Status => $status, Output => $output }) }
sub written { my ($id) = @_; return grep { $_->{CheckID} eq $id } map { (@{$_->{q}{Check} // []}, @{$_->{q}{Checks} // []}) } $f->requests('catalog.register') }
sub fresh { $f->{requests} = [] }

ok(serve(sub { $services{app} && keys %checks == @checks }), 'a service with its checks is written');
$d->connect;

# ---- reloads, one after the other, of the same definitions
ok(serve(sub { $checks{counted}{Status} eq 'passing' && $long && @runs >= 1 }), 'one passes, one hangs in the middle of its request');
update('ttl', 'passing', 'said');
my $said = time;
close $fails;
@runs = ($runs[-1]);
my ($reloads, $expired) = (0);
my $end = time + 60;
while (time < $end && ($checks{counted}{Status} ne 'critical' || @runs < 4 || !$expired)) {
	reload({ node_meta => { reload => ++$reloads } });
	my $ttl = &state('ttl');
	$expired //= time if $ttl->{Status} eq 'critical';
	is("$ttl->{Status} $ttl->{Output}", 'passing said', 'status and output are kept') if $reloads == 1 && time - $said < 5;
	serve(sub { 1 });
	sleep 0.2;
}
cmp_ok($reloads, '>=', 5, 'reloaded often');
kill 'TERM', $noter;
waitpid $noter, 0;
is_deeply([$d->log =~ /has not reached failure threshold: check=counted failure_count=(\d+)/g], [1 .. 4], 'failures are counted over reloads');
is($checks{counted}{Status}, 'critical', 'up to the threshold');
ok($expired, 'a TTL runs out in spite of them');
cmp_ok($expired - $said, '>=', 5.5, 'and not before its time') if $expired;
is(&state('ttl')->{Output}, 'TTL expired (last output before timeout follows): said', 'knowing what was said last');
my ($least) = sort { $a <=> $b } map { $runs[$_] - $runs[$_ - 1] } 1 .. $#runs;
cmp_ok($least, '>=', 2.5, 'runs keep their distance');
my ($got, $status) = (0, '');
my $data = '';
while ($long && $got < $BODY && (my $n = sysread $long, $data, 65536)) {
	$data =~ s/.*?\r\n\r\n//s if !$got;
	$got += length $data;
	$status = 'other bytes' if $data =~ /[^x]/;
}
is("$got $status", "$BODY ", 'the request that was on its way is whole');
syswrite $long, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
ok(serve(sub { ($checks{long} // {})->{Status} eq 'passing' }), 'and its answer counts') or diag $d->log =~ s/.*\n(?=(?:.*\n){20}\z)//sr;

# ---- what has changed begins anew, and keeps its status until its next result
$checks[0]{TTL} = '1h';
update('ttl', 'warning', 'again');
reload();
is(join(' ', @{&state('ttl')}{qw(Status Output)}), 'warning again', 'another TTL keeps status and output');
ok(serve(sub { $checks{ttl}{Status} eq 'warning' }), 'also in the catalog');

# ---- another refusal than for want of rights holds up nobody, and is tried again
is($d->stop, 0, 'SIGTERM');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
@checks = ();
$slice->{check_update_interval} = 4000;
push @{$slice->{services}}, { Name => 'refused', Check => { TTL => '1h' } },
	{ Name => 'noisy', Checks => [map { { CheckID => "noisy$_", TTL => '1h', Status => 'passing' } } 1 .. 60] };
push @refuse, { error => 500, text => 'not today', item => 1 };
$d->write_slice($slice);
$d->spawn;
ok(serve(sub { $services{noisy} && keys %checks >= 60 && $d->log =~ /\[WARN\].*the catalog refuses a registration: service=refused error="not today"/ }), 'one is refused, the others are not');
ok(!$services{refused}, 'so it is not there');
$d->connect;

# ---- outputs alone are held back, each for a time of its own
fresh();
my $begun = time;
for my $i (1 .. 60) {
	$d->start('agent.check_update', { CheckID => "noisy$i", Status => 'passing', Output => $_ }) for "a$i", "b$i";
}
my (%at, $replies);
$replies = 0;
serve(sub {
	while (IO::Select->new($d->{sock})->can_read(0)) {
		$d->reply or last;
		$replies++;
	}
	$at{$_} //= time - $begun for grep { /^noisy/ && $checks{$_}{Output} ne '' } keys %checks;
	return keys %at == 60 && $replies == 120;
});
my @at = sort { $a <=> $b } values %at;
is(scalar @at, 60, 'all outputs come to the catalog');
cmp_ok($at[0], '>=', 1.9, 'none before half of check_update_interval');
cmp_ok($at[-1] - $at[0], '>=', 1, 'and not all at once');
is_deeply([grep { $checks{"noisy$_"}{Output} ne "b$_" } 1 .. 60], [], 'as they are by then');
is((grep { scalar(written("noisy$_")) != 1 } 1 .. 60), 0, 'each of them once');

# ---- writes that meet
$wait = 1;
$d->start('agent.service_register', { Service => { Name => 'race', Port => 1 } });
ok($f->serve(sub { $f->waiting('catalog.batch') }), 'a registration is on its way');
$d->start('agent.service_deregister', { ID => 'race' });
$f->serve(sub { $d->log =~ /removed service: service=race/ });
my ($q) = $f->waiting('catalog.batch');
$wait = 0;
fresh();
$services{race} = { ID => 'race', Service => 'race' };
$f->answer($q, [map { {} } @{$q->{q}{Items}}]);
ok($f->serve(sub { !$services{race} && $d->log =~ /Deregistered service: service=race/ }), 'removed meanwhile, it is taken out behind it');
is(scalar(grep { ($_->{q}{Service}[0]{ID} // '') eq 'race' } $f->requests('catalog.register')), 0, 'and not written again');
$d->reply for 1 .. 2;
ok(!exists ask('agent.services', {})->{race}, 'the agent has forgotten it');

ask('agent.service_register', { Service => { Name => 'back', Port => 1, Checks => [{ CheckID => 'of-back', TTL => 3600 * 10 ** 9 }] } });
ok(serve(sub { $services{back} && $checks{'of-back'} }), 'another one is there');
$wait = 1;
$d->start('agent.service_deregister', { ID => 'back' });
ok($f->serve(sub { $f->waiting('catalog.batch') }), 'its removal is on its way');
$d->start('agent.service_register', { Service => { Name => 'back', Port => 2, Checks => [{ CheckID => 'of-back', TTL => 3600 * 10 ** 9 }] } });
$f->serve(sub { 1 });
sleep 0.3;
($q) = $f->waiting('catalog.batch');
$wait = 0;
delete $services{back};
delete $checks{'of-back'};
$f->answer($q, [map { {} } @{$q->{q}{Items}}]);
ok($f->serve(sub { ($services{back} // {})->{Port} && $services{back}{Port} == 2 && $checks{'of-back'} }), 'registered meanwhile, it is written again, with its check');
$d->reply for 1 .. 2;

# ---- outputs that nobody wants
fresh();
reload({ discard_check_output => $true });
update('noisy1', 'passing', 'unwanted');
is(&state('noisy1')->{Output}, '', 'discard_check_output: an output is not even kept');
update('noisy1', 'critical', 'unwanted');
ok(serve(sub { $checks{noisy1}{Status} eq 'critical' }), 'a status is written');
is($checks{noisy1}{Output}, '', 'without its output');
$checks{noisy2}{Output} = 'of long ago';

ok($f->serve(sub { $services{refused} && $checks{'service:refused'} }, 90), 'what was refused has been tried again');
is($checks{noisy2}{Output}, 'of long ago', 'a comparison leaves an output alone that is in the catalog') or diag explain [written('noisy2')];
is($d->stop, 0, 'a clean end');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
done_testing;
