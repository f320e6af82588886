#!/usr/bin/perl
# The agent's own tokens: set while it runs, taken up by the daemons that use them, kept over reloads and restarts.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use JSON::PP ();
use Node;
use Acl;

my $json = JSON::PP->new->canonical;
my $n = Acl::node(name => 'n1', acl => { enable_token_persistence => JSON::PP::true }, tokens => { default => '', dns => 'of-the-file' });
my ($agent) = Acl::token($n, 'node "n1" { policy = "write" } service_prefix "" { policy = "read" }');
my ($keys) = Acl::token($n, 'key_prefix "" { policy = "write" }');
my ($web) = Acl::token($n, 'service "web" { policy = "write" }');
my $file = "$n->{data_dir}/acl-tokens.json";

sub set { my ($type, $token, $by) = @_; return (Acl::http($n, $by // $Acl::ROOT, 'PUT', "/v1/agent/token/$type", $json->encode({ Token => $token })))[0, 1]; }
sub slice { my ($daemon) = @_; return JSON::PP->new->decode(Node::_slurp("$n->{data_dir}/run/config/$daemon.json"))->{acl}{tokens}; }

# ---- one that a daemon uses

is((Acl::http($n, undef, 'PUT', '/v1/kv/a', 'x'))[0], 403, 'anonymous: nothing is allowed');
my %before = $n->pids;
is((set('default', $keys))[0], 200, 'the default token is set');
is((Acl::http($n, undef, 'PUT', '/v1/kv/a', 'x'))[0], 200, 'who brings none has it at once');
my %after = $n->pids;
is_deeply \%after, \%before, 'no daemon was started again';
is((set('agent', $agent))[0], 200, 'the agent\'s');
ok $n->wait_for(sub { $n->log_text =~ /Synced node info/ }), 'what the agent may do now is done soon';

# ---- which there are

for my $pair (['acl_token', 'default', 'httpd'], ['acl_agent_token', 'agent', 'checkd'], ['agent_master', 'agent_recovery', 'raftd'],
	['acl_agent_master_token', 'agent_recovery', 'raftd'], ['agent_recovery', 'agent_recovery', 'raftd'],
	['config_file_service_registration', 'config_file_service_registration', 'checkd'], ['dns', 'dns', 'dnsd']) {
	my ($name, $key, $daemon) = @$pair;

	is((set($name, "$name-1"))[0], 200, $name);
	is slice($daemon)->{$key}, "$name-1", "... is in the slice of $daemon";
}
is((set('replication', 'r1'))[0], 200, 'replication');
is((set('acl_replication_token', 'r2'))[0], 200, '... by its old name, too');
is((Acl::http($n, 'agent_recovery-1', 'GET', '/v1/agent/self'))[0], 200, 'the new recovery token is known');
is_deeply [set('x', 'y')], [404, 'Token "x" is unknown'], 'there are no others';
is((set('default', 'two words'))[0], 400, 'a token is plain text');
is((Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/token/default', '{"Token": 5}'))[0], 400, '... text');
is((Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/token/default', 'x'))[0], 400, '... in JSON');
is((set('default', 'x', $keys))[0], 403, 'not everybody may');
is((set('default', $keys))[0], 200, 'back to the one that works');

# ---- the file

is sprintf('%04o', (stat $file)[2] & 07777), '0600', 'they are kept, for nobody else to read';
is_deeply $json->decode(Node::_slurp($file)), { default => $keys, agent => 'acl_agent_token-1', agent_recovery => 'agent_recovery-1', replication => 'r2',
	config_file_service_registration => 'config_file_service_registration-1', dns => 'dns-1' }, 'in Consul\'s form';
is((set('dns', ''))[0], 200, 'one is taken back');
ok !exists $json->decode(Node::_slurp($file))->{dns}, '... and not kept';
is slice('dnsd')->{dns}, '', '... nor is the file\'s used as long as the agent runs';
is((set('agent', $agent))[0], 200, 'the agent\'s again');

# ---- nothing else is touched

is((Acl::http($n, $web, 'PUT', '/v1/agent/service/register', '{"Name": "web", "Check": {"TTL": "60s"}}'))[0], 200, 'a service of the API');
is((Acl::http($n, $web, 'PUT', '/v1/agent/check/pass/service:web'))[0], 200, '... is well');
is((set('config_file_service_registration', 'c2'))[0], 200, 'another token for checkd');
is Acl::get($n, $web, '/v1/agent/checks')->{'service:web'}{Status}, 'passing', 'services and checks stay as they were';

# ---- a reload, a restart

$n->reload({ log_level => 'debug', acl => { tokens => { default => 'of-the-file' } } });
ok $n->wait_log(qr/Configuration reloaded/), 'a reload';
is((Acl::http($n, undef, 'GET', '/v1/kv/a'))[0], 200, 'what was set wins over the files');
$n->stop;
$n->start;
Acl::ready($n);
is((Acl::http($n, undef, 'GET', '/v1/kv/a'))[0], 200, 'after a restart as well');
like $n->log_text, qr/A token of the config files has been replaced by the API: token=default/, '... which is told';
is slice('dnsd')->{dns}, 'of-the-file', 'one that was taken back is the files\' again';
is((Acl::http($n, 'agent_recovery-1', 'GET', '/v1/agent/self'))[0], 200, 'the recovery token is known still');
$n->stop;
Node::write_file($file, '{"default": "two words", "agent_master": "m1"}');
$n->start;
Acl::ready($n);
is slice('raftd')->{agent_recovery}, 'm1', 'a file of an older Consul is read';
is slice('httpd')->{default}, 'of-the-file', 'what is no token in it is left out';
like $n->log_text, qr/Not using a token that was kept: token=default/, '... which is told';
$n->stop;
Node::write_file($file, 'rubbish');
$n->start;
Acl::ready($n);
like $n->log_text, qr/unable to load persisted tokens/, 'a broken file is told, and no reason not to start';

# ---- a disk that takes nothing: nothing has changed

unlink $file;
mkdir("$file.tmp") or die; mkdir("$file.tmp/x") or die;
my ($status, $body) = set('default', $keys);
is $status, 500, 'what cannot be kept is refused';
like $body, qr/^failed to persist tokens: /, '... with the reason';
is slice('httpd')->{default}, 'of-the-file', '... and not used';
rmdir "$file.tmp/x" and rmdir "$file.tmp" or die;
is((set('default', $keys))[0], 200, 'once there is room it works');

unlike $n->log_text . $n->err_text, qr/$keys|$agent|$web|$Acl::ROOT|agent_recovery-1/, 'no token is in the log';

# ---- kept in memory alone

my $m = Acl::node(name => 'n2', dev => 1);
my ($k2) = Acl::token($m, 'key_prefix "" { policy = "write" }');
Acl::http($m, $Acl::ROOT, 'PUT', '/v1/agent/service/register', '{"Name": "api"}');
is((Acl::http($m, $Acl::ROOT, 'PUT', '/v1/agent/token/default', $json->encode({ Token => $k2 })))[0], 200, 'with -dev');
is((Acl::http($m, undef, 'PUT', '/v1/kv/a', 'x'))[0], 200, 'it is used');
is join(' ', keys %{Acl::get($m, $Acl::ROOT, '/v1/agent/services')}), 'api', 'and no service is lost';
done_testing;
