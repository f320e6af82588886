#!/usr/bin/perl
# What came over the API survives the end of checkd and of the node, and broken files harm nothing else.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Digest::SHA qw(sha256_hex);
use JSON::PP ();
use Test::More;

my $n = Node->new(config => { check_update_interval => '600ms' },
	config_dir => { 'file.json' => { service => { name => 'both', port => 1 } } });
my $data = $n->{data_dir};

sub put { return $n->http('PUT', @_); }
sub services { return join ' ', sort keys %{$n->get_json('/v1/agent/services')}; }
sub checks { my $c = $n->get_json('/v1/agent/checks'); return join ' ', map { "$_=$c->{$_}{Status}" } sort keys %$c; }
sub file { my ($dir, $id) = @_; return "$data/$dir/" . sha256_hex($id); }
sub kill_checkd
{
	my %pids = $n->pids;
	kill 'KILL', $pids{checkd};
	ok($n->wait_for(sub { my %p = $n->pids; $p{checkd} && $p{checkd} != $pids{checkd} && ($n->http('GET', '/v1/agent/services'))[0] == 200 }),
		'checkd is back after kill -9');
}

put('/v1/agent/service/register', { ID => 'api1', Name => 'api', Port => 7, Tags => ['x'], Meta => { a => 'b' },
	Weights => { Passing => 3, Warning => 2 }, Checks => [{ TTL => '1h' }, { TCP => '127.0.0.1:1', Interval => '1h', Status => 'passing' }] });
put('/v1/agent/check/register', { Name => 'alone', TTL => '1h', Notes => 'of the node' });
put('/v1/agent/check/pass/alone?note=saved');
put('/v1/agent/service/maintenance/api1?enable=true&reason=r');
put('/v1/agent/service/register', { Name => 'gone' });
put('/v1/agent/service/deregister/gone');

ok(-f file('services', 'api1'), 'a registration is a file named by the hash of its id');
is((stat file('services', 'api1'))[2] & 0777, 0600, 'that nobody else reads');
my $f = JSON::PP::decode_json(Node::_slurp(file('services', 'api1')));
is_deeply([sort keys %$f], [qw(From Service Since Source Token)], 'with these members');
is($f->{Service}{Service}, 'api', 'and the service');
ok(-f file('checks/state', 'alone'), 'the state of a TTL check is saved');
ok(!-e file('services', 'gone'), 'what was deregistered has no file');
ok(!-e file('services', 'both'), 'nor what a config file defines');

kill_checkd();
is(services(), 'api1 both', 'registrations are there');
my $kept = '_service_maintenance:api1=critical alone=passing service:api1:1=critical service:api1:2=passing';
ok($n->wait_for(sub { checks() eq $kept }), 'with their checks: as the catalog has them, since checkd alone was away') or diag checks();
like($n->log_text, qr/Checks keep the status that the catalog has until they have run again: checks=1$/m, 'which the log tells');
unlike($n->log_text, qr/Synced check: check=service:api1:2.*Synced check: check=service:api1:2/s, 'nobody saw them fail');
is($n->get_json('/v1/agent/checks')->{alone}{Output}, 'saved', 'the note as well');
is_deeply($n->get_json('/v1/agent/services')->{api1}{Weights}, { Passing => 3, Warning => 2 }, 'and all of the definition');

# The whole node, with a check in a file for a service that came over the API.
$n->config_dir_file('check.json', { check => { id => 'of-api1', name => 'c', service_id => 'api1', ttl => '1h' } });
$n->kill;
$n->start;
is(services(), 'api1 both', 'a killed node has them after its start');
like(checks(), qr/\balone=passing\b/, 'states too');
like(checks(), qr/\bservice:api1:2=critical\b/, 'but what ran is critical until it has run, since nobody knows how long the node was away');
is($n->get_json('/v1/agent/checks')->{'of-api1'}{ServiceName}, 'api', 'a check of a file belongs to a kept service');
ok($n->wait_for(sub { @{$n->get_json('/v1/catalog/service/api')} == 1 }), 'the catalog has the service');

# Files that are broken, foreign, or cut off.
$n->stop;
$n->config_dir_file('check.json', undef);
Node::write_file(file('services', 'corrupt'), '{"Token":"","Service":{"ID":"corrupt"');
Node::write_file(file('services', 'wrong'), '{"Token":"","Service":{"ID":"wrong","Service":["x"]},"Source":"remote"}');
Node::write_file(file('services', 'empty'), '');
Node::write_file(file('services', 'nameless'), '{"Token":"","Service":{"ID":"","Service":""},"Source":"remote"}');
Node::write_file(file('services', 'both'), '{"Token":"","Service":{"ID":"both","Service":"both","Port":99},"Source":"remote"}');
Node::write_file(file('checks', 'orphan'), '{"Check":{"CheckID":"orphan","Name":"o","ServiceID":"nope"},"ChkType":{"CheckID":"orphan","Name":"o","TTL":1000000000},"Token":"","Source":"remote"}');
Node::write_file(file('checks', 'script'), '{"Check":{"CheckID":"script","Name":"s"},"ChkType":{"CheckID":"script","Name":"s","Args":["true"],"Interval":1000000000},"Token":"","Source":"remote"}');
Node::write_file(file('services', 'x') . '.tmp', 'half');
mkdir file('services', 'directory');
# One whose time has passed meanwhile.
my $state = JSON::PP::decode_json(Node::_slurp(file('checks/state', 'alone')));
cmp_ok($state->{Expires}, '>', time, 'the state of a TTL check holds for its TTL');
Node::write_file(file('checks/state', 'alone'), JSON::PP::encode_json({ %$state, Expires => time - 1 }));
open my $big, '>', file('services', 'big');
seek $big, 9_000_000, 0;
print $big 'x';
close $big;
$n->start;
is(services(), 'api1 both', 'broken files harm nobody else');
like(checks(), qr/\balone=critical\b/, 'a TTL that passed while nobody looked is over');
is($n->get_json('/v1/agent/services')->{both}{Port}, 1, 'a service of a config file wins');
ok(!-e file('services', 'both'), 'and its saved copy goes');
my $errors = () = $n->log_text =~ /cannot read a persisted registration, skipping it: file=[0-9a-f]{64}/g;
is($errors, 5, 'each unreadable one is reported');
like($n->log_text, qr/a persisted check is not valid any more, skipping it: check=script error="Scripts are disabled/, 'a script that is not allowed any more does not run');
unlike(checks(), qr/orphan|script/, 'nor a check whose service is gone');
ok(!-e file('services', 'x') . '.tmp', 'what a crash left half-written is removed');
ok(-e file('services', 'corrupt'), 'what could not be read is kept for the operator');

# Output that changes with every run is held back, a status is not.
put('/v1/agent/check/register', { Name => 'noisy', TTL => '1h', Status => 'passing' });
sub catalog_output { my ($c) = grep { $_->{CheckID} eq 'noisy' } @{$n->get_json("/v1/health/node/$n->{name}")}; return "$c->{Status} $c->{Output}"; }
put('/v1/agent/check/pass/noisy?note=one');
is(catalog_output(), 'passing ', 'a new output waits');
ok($n->wait_for(sub { catalog_output() eq 'passing one' }), 'but not for ever');
put('/v1/agent/check/warn/noisy?note=two');
is(catalog_output(), 'warning two', 'a new status does not');

# A data directory that cannot be written: its files are in the way, which stops root as well.
sub in_the_way { my ($dir, $id) = @_; my $tmp = file($dir, $id) . '.tmp'; mkdir $tmp or die $!; return $tmp; }
my $way = in_the_way('services', 'late');
my @r = put('/v1/agent/service/register', { Name => 'late', Check => { TTL => '1h' } });
is($r[0], 500, 'a registration that cannot be kept is an error');
like($r[2], qr/^failed to store the registration: \w/, 'with its reason');
unlike(services() . checks(), qr/late/, 'and nothing of it is there');
ok(!-e file('checks', 'service:late'), 'nor on the disk');
rmdir $way;
is((put('/v1/agent/service/register', { Name => 'late', Check => { TTL => '1h' } }))[0], 200, 'until it can');

put('/v1/agent/service/deregister/api1');
ok(!-e file('services', 'api1') && !-e file('checks', 'service:api1:1'), 'deregistering removes the files');
$n->stop;
unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
done_testing;
