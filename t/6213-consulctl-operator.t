#!/usr/bin/perl
# The operator commands: what they ask an agent for, and what they print; recovery where there is nothing to recover.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use JSON::PP ();
use Test::More;

my @id = map { "11111111-2222-3333-4444-55555555555$_" } 1 .. 2;
my $autopilot = '{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,' .
    '"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"",' .
    '"CreateIndex":4,"ModifyIndex":18446744073709551615}';
my $state = '{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":2,"Servers":{' . join(',', map {
	my ($s, $contact) = $_ == 0 ? ('leader', '0s') : ('non-voter', '12.5ms');
	"\"$id[1 - $_]\":{\"ID\":\"$id[1 - $_]\",\"Name\":\"n$_\",\"Address\":\"10.0.0.$_:8300\",\"NodeStatus\":\"alive\",\"Version\":\"1.10.12\"," .
	    "\"LastContact\":\"$contact\",\"LastTerm\":2,\"LastIndex\":91,\"Healthy\":true,\"StableSince\":\"2021-03-19T20:14:11Z\"," .
	    "\"Status\":\"$s\",\"Meta\":" . ($_ == 0 ? 'null' : '{"b":"2","a":"1"}') . ",\"NodeType\":\"voter\"}" } 0 .. 1) .
    "},\"Leader\":\"$id[1]\",\"Voters\":[\"$id[1]\"]}";
my $a = FakeAgent->new(
	'GET /v1/operator/raft/configuration' => sub { $_[0]{query} =~ /dc=none/ ? [500, 'No path to datacenter'] :
	    "{\"Servers\":[{\"ID\":\"$id[0]\",\"Node\":\"alpha\",\"Address\":\"10.0.0.1:8300\",\"Leader\":true,\"ProtocolVersion\":\"3\",\"Voter\":true}," .
	    "{\"ID\":\"$id[1]\",\"Node\":\"(unknown)\",\"Address\":\"[::1]:8300\",\"Leader\":false,\"ProtocolVersion\":\"3\",\"Voter\":false}],\"Index\":22}" },
	'DELETE /v1/operator/raft/peer' => sub { $_[0]{query} =~ /nobody/ ?
	    [500, 'address "nobody:8300" was not found in the Raft configuration'] : '' },
	'POST /v1/operator/raft/transfer-leader' => sub { $_[0]{query} =~ /id=x/ ?
	    [500, 'id "x" was not found in the Raft configuration'] : '{"Success":true}' },
	'GET /v1/operator/autopilot/configuration' => $autopilot,
	'PUT /v1/operator/autopilot/configuration' => sub { $_[0]{body} =~ /"MinQuorum":9/ ? 'false' : $_[0]{body} =~ /"MinQuorum":8/ ?
	    [403, 'Permission denied'] : 'true' },
	'GET /v1/operator/autopilot/state' => $state,
);
my $o = { addr => $a->addr };

sub is_run
{
	my ($name, $args, $code, $out, $err) = @_;
	my @got = ctl($o, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

# ---- raft

is_run('list-peers', [qw(operator raft list-peers)], 0, <<"EOT", '');
Node       ID                                    Address        State     Voter  RaftProtocol
alpha      $id[0]  10.0.0.1:8300  leader    true   3
(unknown)  $id[1]  [::1]:8300     follower  false  3
EOT
ctl($o, qw(operator raft list-peers -stale -datacenter=dc2));
is_deeply([sort split /&/, ($a->requests)[-1]{query}], [qw(dc=dc2 stale=)], 'stale and the datacenter are sent') or
    diag(($a->requests)[-1]{query});
is_run('an error', [qw(operator raft list-peers -datacenter=none)], 1, '',
    "Error getting peers: Failed to retrieve raft configuration: Unexpected response code: 500 (No path to datacenter)\n");
is_run('too many arguments', [qw(operator raft list-peers x)], 1, '', "Too many arguments (expected 0, got 1)\n");

is_run('remove-peer by address', [qw(operator raft remove-peer -address=10.0.0.9:8300)], 0,
    "Removed peer with address \"10.0.0.9:8300\"\n", '');
is(($a->requests)[-1]{query}, 'address=10.0.0.9%3A8300', 'is asked for');
is_run('by id', [qw(operator raft remove-peer -id), $id[1]], 0, "Removed peer with id \"$id[1]\"\n", '');
is_run('none', [qw(operator raft remove-peer)], 1, '', "Error removing peer: an address or id is required for the peer to remove\n");
is_run('both', [qw(operator raft remove-peer -id=a -address=b)], 1, '', "Error removing peer: cannot give both an address and id\n");
is_run('an unknown one', [qw(operator raft remove-peer -address=nobody:8300)], 1, '',
    "Error removing peer: Unexpected response code: 500 (address \"nobody:8300\" was not found in the Raft configuration)\n");

is_run('transfer-leader', [qw(operator raft transfer-leader)], 0, "Success\n", '');
ctl($o, qw(operator raft transfer-leader -id), $id[0]);
is(($a->requests)[-1]{query}, "id=$id[0]", 'to a server');
is_run('to nobody', [qw(operator raft transfer-leader -id=x)], 1, '',
    "Error transferring leadership: Unexpected response code: 500 (id \"x\" was not found in the Raft configuration)\n");

# ---- autopilot

is_run('get-config', [qw(operator autopilot get-config)], 0, <<'EOT', '');
CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 0
ServerStabilizationTime = 10s
RedundancyZoneTag = ""
DisableUpgradeMigration = false
UpgradeVersionTag = ""
EOT

is_run('set-config', [qw(operator autopilot set-config -cleanup-dead-servers=false -last-contact-threshold=1500ms -max-trailing-logs=500
    -min-quorum=3 -server-stabilization-time 1m -redundancy-zone-tag=zone -disable-upgrade-migration -upgrade-version-tag=v)], 0,
    "Configuration updated!\n", '');
my $put = ($a->requests)[-1];
is($put->{query}, 'cas=18446744073709551615', 'only if nobody changed it since');
is_deeply(JSON::PP::decode_json($put->{body}), { CleanupDeadServers => JSON::PP::false, LastContactThreshold => '1.5s', MaxTrailingLogs => 500,
	MinQuorum => 3, ServerStabilizationTime => '1m0s', RedundancyZoneTag => 'zone', DisableUpgradeMigration => JSON::PP::true,
	UpgradeVersionTag => 'v', CreateIndex => 4, ModifyIndex => 18446744073709551615 }, 'all flags are in it');
ctl($o, qw(operator autopilot set-config -min-quorum=1));
is(JSON::PP::decode_json(($a->requests)[-1]{body})->{MaxTrailingLogs}, 250, 'what is not given stays');
is_run('changed meanwhile', [qw(operator autopilot set-config -min-quorum=9)], 1,
    "Configuration could not be atomically updated, please try again\n", '');
is_run('refused', [qw(operator autopilot set-config -min-quorum=8)], 1, '',
    "Error setting Autopilot configuration: Unexpected response code: 403 (Permission denied)\n");
my $before = $a->requests;
like((ctl($o, qw(operator autopilot set-config -last-contact-threshold=x)))[2], qr/invalid value "x" for flag -last-contact-threshold/, 'no duration');
is(scalar($a->requests), $before, 'nothing is asked then');

is_run('state', [qw(operator autopilot state)], 0, <<"EOT", '');
Healthy:                      true
Failure Tolerance:            1
Optimistic Failure Tolerance: 2
Leader:                       $id[1]
Voters:
   $id[1]
Servers:
   $id[0]
      Name:            n1
      Address:         10.0.0.1:8300
      Version:         1.10.12
      Status:          non-voter
      Node Type:       voter
      Node Status:     alive
      Healthy:         true
      Last Contact:    12.5ms
      Last Term:       2
      Last Index:      91
      Meta
         "a": "1"
         "b": "2"
   $id[1]
      Name:            n0
      Address:         10.0.0.0:8300
      Version:         1.10.12
      Status:          leader
      Node Type:       voter
      Node Status:     alive
      Healthy:         true
      Last Contact:    0s
      Last Term:       2
      Last Index:      91
EOT
my @json = ctl($o, qw(operator autopilot state -format=json));
is_deeply(JSON::PP::decode_json($json[1]), JSON::PP::decode_json($state), 'state as JSON');
like($json[1], qr/^\{\n    "Healthy": true,\n/, 'indented');
is_run('another format', [qw(operator autopilot state -format=x)], 1, '', "Unknown format: x\n");
is_run('nobody there', [qw(operator autopilot state -http-addr=127.0.0.1:1)], 1, '',
    "Error querying Autopilot state: Get \"http://127.0.0.1:1/v1/operator/autopilot/state\": dial tcp 127.0.0.1:1: connect: connection refused\n");

# ---- recovery, where there is nothing to recover

my $dir = File::Temp->newdir;
like((ctl($o, qw(operator raft recover)))[2], qr/^The data directory of the server must be given\.\n\nUsage: /, 'recover without a directory');
is_run('of no data directory', [qw(operator raft recover), "-data-dir=$dir"], 1, '',
    "$dir/raftd is not the data directory of a raftd\n");
mkdir "$dir/raftd";
is_run('of an empty one', [qw(operator raft recover -dry-run), "-data-dir=$dir"], 1, '',
    "$dir/raftd is not the data directory of a raftd\n");
is_deeply([glob "$dir/raftd/*"], [], 'nothing is made there');

done_testing;
