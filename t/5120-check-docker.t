#!/usr/bin/perl
# Docker checks against an engine on a Unix socket and on TCP: commands that pass, warn, fail and hang, and an engine that refuses.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use Node;
use JSON::PP ();
use Test::More;

my $t = Checks->targets;
my $true = JSON::PP::true;
my %config = (enable_script_checks => $true, check_update_interval => '0s');
my $n = Node->new(dev => 1, config => \%config, env => { DOCKER_HOST => "unix://$t->{dir}/docker.sock" });
my $k = Checks->new($n);

$k->check("d-$_", DockerContainerID => $_, Args => ['/bin/probe', "a \"b\" $_"], Timeout => '2s')
	for qw(ok warn fail raw big slow odd paused broken garbage evil none);
$k->check('d-hang', docker_container_id => 'hang', Args => ['true'], Timeout => '300ms');
$k->check('d-small', DockerContainerID => 'big', Args => ['true'], OutputMaxSize => 10);
$k->check('d-path', DockerContainerID => '../ok', Args => ['true']);

$k->becomes('d-ok', 'passing', qr{^out of ok\nand a word\n$});
$k->becomes('d-warn', 'warning', qr{^out of warn\nand a word\n$});
$k->becomes('d-fail', 'critical', qr{^out of fail\nand a word\n$});
$k->becomes('d-hang', 'critical', qr{^Timed out \(300ms\) running check$});
$k->becomes('d-raw', 'passing', qr{^just text\n$}, 'an engine that sends the output as it is');
$k->becomes('d-big', 'passing', qr{^Captured 4096 of 50007 bytes\n\.\.\.\ny{4089}THE END$}, 'the end of a long output is kept');
$k->becomes('d-small', 'passing', qr{^Captured 10 of 50007 bytes\n\.\.\.\nyyyTHE END$});
$k->becomes('d-slow', 'passing', qr{^out of slow}, 'a command that lives on when its output has ended is waited for');
$k->becomes('d-none', 'critical', qr{^create exec failed for unknown container none$});
$k->becomes('d-paused', 'critical', qr{^create exec failed since container paused is paused or stopped$});
$k->becomes('d-broken', 'critical', qr{^create exec failed for container broken with status 500: .*no space});
$k->becomes('d-garbage', 'critical', qr{^create exec response for container garbage cannot be parsed$});
$k->becomes('d-evil', 'critical', qr{^create exec response for container evil cannot be parsed$}, 'an id that leads elsewhere is none');
$k->becomes('d-odd', 'critical', qr{^inspect exec response for container odd cannot be parsed$});
$k->becomes('d-path', 'critical', qr{^create exec failed for unknown container \.\./ok$}, 'a container\'s name is no path');
is($k->now('d-ok')->{Type}, 'docker', 'the type is shown');
my @asked = map { JSON::PP::decode_json($_) } split /\n/, Node::_slurp("$t->{dir}/docker.log");
my ($ok) = grep { $_->[0] eq '/containers/ok/exec' } @asked;
is_deeply($ok->[1]{Cmd}, ['/bin/probe', 'a "b" ok'], 'the command is run as it is, without a shell');
ok($ok->[1]{AttachStdout} && $ok->[1]{AttachStderr} && !$ok->[1]{AttachStdin} && !$ok->[1]{Tty}, 'its output is asked for');

# An engine that is not there any more, and one that comes back.
rename "$t->{dir}/docker.sock", "$t->{dir}/away" or die $!;
$k->becomes('d-ok', 'critical', qr{^create exec failed for container ok: Cannot connect to the Docker daemon at unix://\S+/docker\.sock\. Is the docker daemon running\?$}, 'an engine that is away');
rename "$t->{dir}/away", "$t->{dir}/docker.sock" or die $!;
$k->becomes('d-ok', 'passing', qr{^out of ok}, 'and back');
$k->check('d-long', DockerContainerID => 'hang', Args => ['true'], Timeout => '30s');
$k->becomes('d-fail', 'critical', qr{^out of fail});
$k->clean;

# Over TCP, with a path in front; scripts of files alone are allowed.
$n = Node->new(dev => 1, config => { check_update_interval => '0s', enable_local_script_checks => $true,
	checks => [{ name => 'file', docker_container_id => 'ok', args => ['x'], interval => '1s', shell => '/bin/bash' }] },
	env => { DOCKER_HOST => "tcp://127.0.0.1:$t->{port}{docker}/some/base" });
$k = Checks->new($n);
$k->becomes('file', 'passing', qr{^out of ok}, 'an engine on TCP');
my @r = $n->http('PUT', '/v1/agent/check/register', { Name => 'x', DockerContainerID => 'ok', Args => ['x'], Interval => '1s' });
is("$r[0] $r[2]", "500 Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
	'a command in a container is a script');
$k->clean;

$n = Node->new(dev => 1, config => \%config, env => { DOCKER_HOST => 'npipe://x' });
$k = Checks->new($n);
$k->check('d', DockerContainerID => 'ok', Args => ['x']);
$k->becomes('d', 'critical', qr{^unable to parse docker host `npipe://x`$});
$k->clean;
done_testing;
