#!/usr/bin/perl
# Checks of each kind that are changed, taken away and stopped in the middle of a run that would take a minute.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use Node;
use Test::More;
use Time::HiRes qw(time);

my $t = Checks->targets(tls => 1);
my $p = $t->{port};
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $dir = File::Temp->newdir("lifetimes-$$-XXXXXX", TMPDIR => 1);
mkdir "$dir/bin";
Node::write_file("$dir/bin/systemctl", "#!/bin/sh\necho \$\$ >>$dir/pids\nexec sleep 60\n");
chmod 0755, "$dir/bin/systemctl";

# A target that takes connections, and is silent then; what never takes one is a full queue.
my $deaf = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 0) or die $!;
listen $deaf, 0;
my @fill = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $deaf->sockport, Blocking => 0) } 1 .. 8;

my %kind = (
	tcp => { tcp => '127.0.0.1:' . $deaf->sockport },
	tls => { tcp => "127.0.0.1:$p->{'tls-silent'}", tcp_use_tls => $true },
	udp => { udp => "127.0.0.1:$p->{'udp-silent'}" },
	h2ping => { h2ping => "127.0.0.1:$p->{'h2-silent'}", h2ping_use_tls => $false },
	'h2ping-tls' => { h2ping => "127.0.0.1:$p->{'tls-silent'}" },
	grpc => { grpc => "127.0.0.1:$p->{'h2-silent'}" },
	'grpc-tls' => { grpc => "127.0.0.1:$p->{'tls-silent'}", grpc_use_tls => $true },
	http => { http => "http://127.0.0.1:$p->{'h2-silent'}/" },
	https => { http => "https://127.0.0.1:$p->{'tls-silent'}/" },
	docker => { docker_container_id => 'hang', args => ['true'] },
	script => { args => ['sh', '-c', "echo \$\$ >>$dir/pids; exec sleep 60"] },
	os_service => { os_service => 'web' },
);
sub definitions
{
	my ($timeout, @names) = @_;

	return [{ name => 'clock', args => ['sh', '-c', "echo x >>$dir/ticks"], interval => '1s' },
		map { { name => $_, interval => '1s', timeout => $timeout, status => 'warning', notes => $timeout, %{$kind{$_}} } } @names];
}
my $n = Node->new(dev => 1, config => { check_update_interval => '0s', enable_script_checks => $true, checks => definitions('60s', sort keys %kind) },
	env => { DOCKER_HOST => "unix://$t->{dir}/docker.sock", PATH => "$dir/bin:$ENV{PATH}" });
my $k = Checks->new($n);

# Each first run begins within a second; three of the clock's are two seconds at least.
sub ticks { return int((-s "$dir/ticks" // 0) / 2) }
sub all_run
{
	my ($why) = @_;
	my $from = ticks();

	ok $n->wait_for(sub { ticks() >= $from + 4 }), $why;
}
sub alive
{
	return -e "$dir/pids" ? grep { Node::alive($_) } split ' ', Node::_slurp("$dir/pids") : ();
}
sub reload
{
	my ($timeout, @names) = @_;

	$n->write_config({ checks => definitions($timeout, @names) });
	is +($n->http('PUT', '/v1/agent/reload'))[0], 200, 'reloaded';
}
sub descriptors
{
	my %pids = $n->pids;

	return scalar(() = glob "/proc/$pids{checkd}/fd/*");
}

all_run('all of them run');
is $k->now($_)->{Status}, 'warning', "$_ has no result yet" for sort keys %kind;
is scalar(alive()), 2, 'two programs are running';
my %pids = $n->pids;
reload('50s', sort keys %kind);
all_run('they run anew, changed');
is $k->now($_)->{Notes}, '50s', "$_ is another" for sort keys %kind;
is $k->now($_)->{Status}, 'warning', '... and keeps its status' for sort keys %kind;
is scalar(alive()), 2, 'the programs of before are gone';
reload('50s');
ok $n->wait_for(sub { keys %{$n->get_json('/v1/agent/checks')} == 1 }), 'all but one are taken away';
ok $n->wait_for(sub { !alive() }), 'their programs are gone';
my $least = descriptors();
for my $round (1 .. 3) {
	reload("3${round}s", sort keys %kind);
	all_run("round $round: they run again");
	reload("3${round}s");
	ok $n->wait_for(sub { keys %{$n->get_json('/v1/agent/checks')} == 1 && descriptors() <= $least + 2 }), '... and leave no descriptor behind'
		or diag descriptors() . " descriptors, $least before";
}
reload('40s', sort keys %kind);
all_run('they run once more');
is {$n->pids}->{checkd}, $pids{checkd}, 'it is still the same checkd';
my $began = time;
$k->clean;
cmp_ok time - $began, '<', 25, 'checkd ends in the middle of all of them';
ok $n->wait_for(sub { !alive() }), '... with their programs';
done_testing;
