#!/usr/bin/perl
# checkd with ACLs: who may see and change this node's services and checks, and with whose rights they get into the catalog.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Find ();
use Test::More;
use JSON::PP ();
use Node;
use Acl;

my $n = Acl::node(name => 'n1', acl => { tokens => {} });
my ($web) = Acl::token($n, 'service "web" { policy = "write" } service "api" { policy = "write" }');
my ($api, $api_accessor) = Acl::token($n, 'service "api" { policy = "write" }');
my ($reader) = Acl::token($n, 'service "web" { policy = "read" } node "n1" { policy = "read" }');
my ($nodes) = Acl::token($n, 'node "n1" { policy = "write" }');

sub http { return Acl::http($n, @_) }
sub refused
{
	my ($text, $what, @request) = @_;
	my ($status, $body) = http(@request);

	is $status, 403, $what;
	is $body, $text, '... in these words';
}

# ---- registering

my $def = '{"Name": "web", "Port": 80, "Check": {"TTL": "60s"}}';
refused 'Permission denied: Missing service:write on web', 'a service without a token', undef, 'PUT', '/v1/agent/service/register', $def;
refused 'Permission denied: Missing service:write on web', 'or with a reader\'s', $reader, 'PUT', '/v1/agent/service/register', $def;
refused 'ACL not found', 'a token that is none', 'nobody', 'PUT', '/v1/agent/service/register', $def;
is((http($web, 'PUT', '/v1/agent/service/register', '{"Name": ""}'))[0], 400, 'what is no service is refused for that');
is((http($web, 'PUT', '/v1/agent/service/register', $def))[0], 200, 'a writer registers it');
ok $n->wait_for(sub { @{Acl::get($n, $Acl::ROOT, '/v1/catalog/service/web')} == 1 }), 'and the service\'s token takes it to the catalog';
refused 'Permission denied: Missing service:write on web', 'another service of the same ID asks for the old one\'s right, too',
	$api, 'PUT', '/v1/agent/service/register', '{"Name": "api", "ID": "web"}';
is((http($api, 'PUT', '/v1/agent/service/register', '{"Name": "api"}'))[0], 200, 'a service of its own is fine');
refused 'Permission denied: Missing service:write on web', 'but not with a check that takes the place of another service\'s',
	$api, 'PUT', '/v1/agent/service/register', '{"Name": "api", "Check": {"CheckID": "service:web", "TTL": "60s", "Status": "passing"}}';
is((http($Acl::ROOT, 'PUT', '/v1/agent/maintenance?enable=true'))[0], 200, 'the node is in maintenance');
refused 'Permission denied: Missing node:write on n1', 'nor of the node\'s',
	$api, 'PUT', '/v1/agent/service/register', '{"Name": "api", "Checks": [{"CheckID": "_node_maintenance", "TTL": "60s", "Status": "passing"}]}';
is((http($Acl::ROOT, 'PUT', '/v1/agent/maintenance?enable=false'))[0], 200, 'and is out of it');

refused 'Permission denied: Missing node:write on n1', 'a check of the node', $web, 'PUT', '/v1/agent/check/register', '{"Name": "disk", "TTL": "60s"}';
is((http($nodes, 'PUT', '/v1/agent/check/register', '{"Name": "disk", "TTL": "60s"}'))[0], 200, 'is for who may write the node');
refused 'Permission denied: Missing service:write on api', 'a check of a service', $nodes, 'PUT', '/v1/agent/check/register',
	'{"Name": "more", "ServiceID": "api", "TTL": "60s"}';
refused 'Permission denied: Missing node:write on n1', 'replacing a check of the node by one of a service', $api, 'PUT', '/v1/agent/check/register',
	'{"Name": "x", "ID": "disk", "ServiceID": "api", "TTL": "60s"}';
is((http($api, 'PUT', '/v1/agent/check/register', '{"Name": "more", "ServiceID": "api", "TTL": "60s"}'))[0], 200, 'a check of a service by its writer');

# ---- seeing

my %services = map { $_ => join ' ', sort keys %{Acl::get($n, $_, '/v1/agent/services')} } ($web, $api, $reader, $nodes, $Acl::ROOT);
is_deeply \%services, { $web => 'api web', $api => 'api', $reader => 'web', $nodes => '', $Acl::ROOT => 'api web' }, 'services are those that the token may read';
my %checks = map { $_ => join ' ', sort keys %{Acl::get($n, $_, '/v1/agent/checks')} } ($web, $api, $reader, $nodes);
is_deeply \%checks, { $web => 'more service:web', $api => 'more', $reader => 'disk service:web', $nodes => 'disk' }, 'and checks, those of the node included';
is((http($api, 'GET', '/v1/agent/services'))[2]{'x-consul-results-filtered-by-acls'}, 'true', 'that some were left out is told');
is((http(undef, 'GET', '/v1/agent/services'))[2]{'x-consul-results-filtered-by-acls'}, undef, 'but not to who has no token');
is((http(undef, 'GET', '/v1/agent/services'))[1], '{}', 'who sees nothing');
is((http('nobody', 'GET', '/v1/agent/checks'))[0], 403, 'an unknown token is no empty list');
is((http(undef, 'GET', '/v1/agent/service/none'))[0], 404, 'an unknown service is unknown to everybody');
refused "Permission denied: token with AccessorID '$api_accessor' lacks permission 'service:read' on \"web\"", 'one service', $api, 'GET', '/v1/agent/service/web';
is((http($reader, 'GET', '/v1/agent/service/web'))[0], 200, 'a reader reads it');
refused "Permission denied: token with AccessorID '$api_accessor' lacks permission 'service:read' on \"web\"", 'its health by ID', $api, 'GET', '/v1/agent/health/service/id/web';
refused "Permission denied: token with AccessorID '$api_accessor' lacks permission 'service:read' on \"web\"", '... by name', $api, 'GET', '/v1/agent/health/service/name/web';
is((http($api, 'GET', '/v1/agent/health/service/id/none'))[0], 404, 'an unknown one is not found');
is((http($reader, 'GET', '/v1/agent/health/service/id/web'))[0], 503, 'a reader sees the health');

# ---- a wait for a change: the rights are asked for when it comes

my ($late, undef, $late_policy) = Acl::token($n, 'service "web" { policy = "read" }');
my $hash = (http($late, 'GET', '/v1/agent/service/web'))[2]{'x-consul-contenthash'};
pipe my $out, my $in or die;
my $pid = fork // die;
if ($pid == 0) {
	my ($status) = http($late, 'GET', "/v1/agent/service/web?hash=$hash&wait=60s");
	syswrite $in, $status;
	POSIX::_exit(0);
}
close $in;
ok $n->wait_for(sub { ($n->log_text =~ /agent.http: Request finished: method=GET/) }), 'one waits';
Acl::change($n, $late_policy, 'service "api" { policy = "read" }');
is((http($web, 'PUT', '/v1/agent/service/register', '{"Name": "web", "Port": 81, "Check": {"TTL": "60s"}}'))[0], 200, 'the service changes');
my $status = '';
$status = '' unless sysread $out, $status, 3;
waitpid $pid, 0;
is $status, '403', 'whoever has lost the right meanwhile is refused';

# ---- changing

refused 'Permission denied: Missing service:write on web', 'a check\'s result', $api, 'PUT', '/v1/agent/check/pass/service:web';
is((http($web, 'PUT', '/v1/agent/check/pass/service:web'))[0], 200, 'its writer tells it');
refused 'Permission denied: Missing node:write on n1', 'of the node\'s check', $web, 'PUT', '/v1/agent/check/update/disk', '{"Status": "passing"}';
is((http($nodes, 'PUT', '/v1/agent/check/update/disk', '{"Status": "passing"}'))[0], 200, 'the node\'s writer does');
is((http($api, 'PUT', '/v1/agent/check/pass/none'))[0], 404, 'a check that is not there');
refused 'Permission denied: Missing service:write on web', 'maintenance of a service', $api, 'PUT', '/v1/agent/service/maintenance/web?enable=true';
is((http($api, 'PUT', '/v1/agent/service/maintenance/none?enable=true'))[0], 404, 'of an unknown one');
is((http($web, 'PUT', '/v1/agent/service/maintenance/web?enable=true&reason=x'))[0], 200, 'by its writer');
is((http($web, 'PUT', '/v1/agent/service/maintenance/web?enable=false'))[0], 200, 'and back');
refused 'Permission denied: Missing node:write on n1', 'maintenance of the node', $web, 'PUT', '/v1/agent/maintenance?enable=true';
refused 'Permission denied: Missing service:write on web', 'taking a service away', $api, 'PUT', '/v1/agent/service/deregister/web';
refused 'Permission denied: Missing node:write on n1', 'or a check', $api, 'PUT', '/v1/agent/check/deregister/disk';
($status, my $body) = http($api, 'PUT', '/v1/agent/service/deregister/none');
is $status, 404, 'one that is not there';
is $body, 'Unknown service ID "none". Ensure that the service ID is passed, not the service name.', '... is told';
is((http($web, 'PUT', '/v1/agent/service/deregister/web'))[0], 200, 'its writer takes it away');
ok $n->wait_for(sub { @{Acl::get($n, $Acl::ROOT, '/v1/catalog/service/web')} == 0 }), 'from the catalog as well';

# ---- with whose rights: the node's own entry and what the files define

sub catalog { return join ' ', sort keys %{Acl::get($n, $Acl::ROOT, '/v1/catalog/services')} }
sub meta { return (Acl::get($n, $Acl::ROOT, '/v1/catalog/node/n1')->{Node}{Meta} // {})->{rack} // '' }
my $before = () = $n->log_text =~ /registration blocked by ACLs: node=n1/g;
is $before, 1, 'without a token the agent may not write its own node, which is told once';
$n->reload({ node_meta => { rack => 'r1' }, services => [{ name => 'filed' }, { name => 'owned', token => $Acl::ROOT }] });
ok $n->wait_for(sub { catalog() =~ /owned/ }), 'a service of the files with a token of its own is written';
ok $n->wait_log(qr/registration blocked by ACLs: service=filed error="Permission denied: anonymous token lacks permission 'service:write' on "filed"/),
	'one without is denied, which does not hold up the others, and says whose token it was';
unlike catalog(), qr/filed/, 'and is not in the catalog';
my ($filer) = Acl::token($n, 'service "filed" { policy = "write" }');
my ($agent) = Acl::token($n, 'node "n1" { policy = "write" } service_prefix "" { policy = "read" }');
$n->reload({ acl => { tokens => { config_file_service_registration => $filer } } });
ok $n->wait_for(sub { catalog() =~ /filed/ }), 'with a token for the files\' registrations it is written';
is meta(), '', 'the node\'s entry is not';
$n->reload({ acl => { tokens => { agent => $agent } } });
ok $n->wait_for(sub { meta() eq 'r1' }), 'the agent\'s token writes it';
$n->reload({ services => [] });
ok $n->wait_for(sub { catalog() !~ /filed|owned/ }), 'what the files no longer define goes from the catalog';
ok $n->wait_for(sub { $n->log_text =~ /Deregistered service: service=filed/ }), '... by the token that brought it';

# ---- many at once, each with a token of its own: those that are denied go with those that are not

my ($many) = Acl::token($n, 'service_prefix "many" { policy = "write" }');
my ($one) = Acl::token($n, 'service "other" { policy = "write" }');
# Checks with tokens of their own beside one that has its service's.
sub own { my ($token) = @_; return [map { { id => $_->[0], name => $_->[0], service_id => 'other', ttl => '1h', status => 'passing', token => $_->[1] } } ['with-own', $token], ['with-root', $Acl::ROOT]] }
$n->reload({ services => [
	(map { { name => "many$_", token => $_ % 2 ? $many : $one, check => { id => "of-many$_", ttl => '1h', status => 'passing' } } } 1 .. 20),
	{ name => 'other', token => $one, check => { id => 'with-service', ttl => '1h', status => 'passing' } },
	{ name => 'nobody', token => '11111111-2222-3333-4444-555555555555' },
], checks => own($many) });
my $written = sub { return join ' ', sort map { $_->{CheckID} =~ /^(?:of-many|with)/ ? $_->{CheckID} : () } @{Acl::get($n, $Acl::ROOT, '/v1/health/node/n1')} };
my @odd = grep { $_ % 2 } 1 .. 20;
ok $n->wait_for(sub { $written->() eq join ' ', sort map({ "of-many$_" } @odd), qw(with-root with-service) }), 'services and checks come to the catalog with their own tokens' or diag $written->();
is catalog(), join(' ', sort qw(api consul other), map { "many$_" } @odd), 'and no others';
ok $n->wait_log(qr/registration blocked by ACLs: service=many$_ error=/), "many$_ is denied" for 2, 20;
ok $n->wait_log(qr/registration blocked by ACLs: check=with-own error=/), 'so is a check whose token does not suffice';
ok $n->wait_log(qr/registration blocked by ACLs: service=nobody error="ACL not found/), 'and a token that is none';
$n->reload({ checks => own($one) });
ok $n->wait_for(sub { $written->() =~ /with-own/ }), 'with another token it is written' or diag $written->();
$n->reload({ checks => [], services => [map { { name => "many$_", token => $many, check => { id => "of-many$_", ttl => '1h', status => 'passing' } } } 1 .. 20] });
ok $n->wait_for(sub { catalog() eq join ' ', sort qw(api consul), map { "many$_" } 1 .. 20 }), 'with another token the denied ones come, and the rest goes' or diag catalog();

unlike $n->log_text . $n->err_text, qr/$Acl::ROOT|$web|$api|$filer|$agent|$many|$one|11111111-2222/, 'no token is in the log';
my @found;
File::Find::find({ no_chdir => 1, wanted => sub { push @found, $_ if -f && !m{^\Q$n->{data_dir}\E/(?:run/config|raftd|conf)|config} && Node::_slurp($_) =~ /$many|$one/ } }, $n->{data_dir});
is_deeply \@found, [], 'nor in files other than the configuration and the replicated state';
done_testing;
