#!/usr/bin/perl
# The commands with a token: by flag, file and environment; lock, watch and exec need no more rights than what they do.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Ctl;
use Frame;
use JSON::PP ();
use Node;
use Acl;

my $n = Acl::node(name => 'n1', config => { disable_remote_exec => JSON::PP::false });
my ($agent) = Acl::token($n, 'node "n1" { policy = "write" } service_prefix "" { policy = "read" } key_prefix "_rexec/" { policy = "write" } '
	. 'session "n1" { policy = "read" }');
is((Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/token/agent', "{\"Token\": \"$agent\"}"))[0], 200, 'the agent has a token');
my ($keys) = Acl::token($n, 'agent "n1" { policy = "read" } key_prefix "app/" { policy = "write" } session "n1" { policy = "write" }');
my ($reader) = Acl::token($n, 'agent "n1" { policy = "read" } key_prefix "app/" { policy = "read" }');
my $o = { addr => "$n->{ip}:$n->{ports}{http}" };
my $file = "$n->{dir}/token";
Node::write_file($file, "$keys\n");

sub run { my ($env, @args) = @_; return ctl({ %$o, env => $env }, @args) }

# ---- where the token comes from

like((run({}, qw(kv put app/a 1)))[2], qr/Permission denied: anonymous token lacks permission 'key:write' on "app\/a"/, 'without a token');
is((run({}, 'kv', 'put', "-token=$keys", 'app/a', 1))[0], 0, '-token');
is((run({}, 'kv', 'put', "-token-file=$file", 'app/a', 2))[0], 0, '-token-file');
is((run({ CONSUL_HTTP_TOKEN => $keys }, qw(kv put app/a 3)))[0], 0, 'CONSUL_HTTP_TOKEN');
is((run({ CONSUL_HTTP_TOKEN_FILE => $file }, qw(kv put app/a 4)))[0], 0, 'CONSUL_HTTP_TOKEN_FILE');
is((run({ CONSUL_HTTP_TOKEN => $keys }, 'kv', 'put', "-token=$reader", 'app/a', 5))[0], 1, 'the flag wins over the environment');
is((run({ CONSUL_HTTP_TOKEN => $reader }, qw(kv get app/a)))[1], "4\n", 'a reader reads');

is_deeply([run({}, qw(members))], [2, '', "No member can be seen with this token: it takes node:read\n"], 'no member can be seen');
is((run({ CONSUL_HTTP_TOKEN => $Acl::ROOT }, qw(members -status=left)))[2], '', 'which is not said when none matches');

# ---- lock, watch: both ask the agent for its name first, as Consul's do

my $as = { CONSUL_HTTP_TOKEN => $keys };
is_deeply([run($as, qw(lock app/l), 'echo held')], [0, "held\n", ''], 'lock with the right to its keys and sessions');
like((run({ CONSUL_HTTP_TOKEN => $reader }, qw(lock app/l true)))[2], qr/Permission denied/, 'not without');
is_deeply([run($as, qw(lock -n=2 app/s), 'echo held')], [0, "held\n", ''], 'a semaphore as well');
like((run({ CONSUL_HTTP_TOKEN => $reader }, qw(watch -type=key -key=app/a)))[1], qr/"Key": "app\/a"/, 'watch');
like((run({}, qw(watch -type=key -key=app/a)))[2], qr/Permission denied/, 'not without');

# ---- exec

my ($exec) = Acl::token($n, 'agent "n1" { policy = "read" } key_prefix "_rexec/" { policy = "write" } session "n1" { policy = "write" } event "_rexec" { policy = "write" }');
my ($rc, $out, $err) = run({ CONSUL_HTTP_TOKEN => $exec }, 'exec', '-wait=4s', 'echo done');
is $rc, 0, 'exec with the rights to its keys, its session and its event' or diag $out, $err;
like $out, qr/n1: done/, '... runs with the agent\'s token';
($rc, $out, $err) = run($as, 'exec', '-wait=4s', 'echo done');
isnt $rc, 0, 'not with others';
like $err, qr/Permission denied/, '... which is told';

# ---- the agent's own ways

is((run({}, 'reload'))[0], 1, 'reload without a right');
is((run({ CONSUL_HTTP_TOKEN => $Acl::ROOT }, 'reload'))[0], 0, '... and with it');
$n->signal('HUP');
ok $n->wait_for(sub { (() = $n->log_text =~ /Configuration reloaded/g) >= 2 }), 'a signal asks for none';
my $watch = Frame::Client->new("$n->{data_dir}/run/consulctl.sock");
ok(($watch->ask('agent.reload'))[0], 'nor does the socket');
unlike $n->log_text . $n->err_text, qr/$keys|$reader|$exec|$agent|$Acl::ROOT/, 'no token is in the log';
is((run({ CONSUL_HTTP_TOKEN => $Acl::ROOT }, 'leave'))[0], 0, 'leave');
is $n->wait_exit, 0, '... which ends the agent';
done_testing;
