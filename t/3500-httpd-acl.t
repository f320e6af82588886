#!/usr/bin/perl
# The ACL endpoints: the first token, tokens, policies, roles, auth methods, binding rules, login; what a restart and a snapshot keep of them.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Frame;
use JSON::PP ();
use MIME::Base64 ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my $ip = Node::_address();
my %ports = map { $_ => Node::_free_port($ip) } qw(http server);
my $data = File::Temp->newdir("acl-$$-XXXXXX", TMPDIR => 1);
my %common = (node_name => 'n1', datacenter => 'dc1', server => JSON::PP::true, bootstrap_expect => 1, log_level => 'DEBUG', data_dir => "$data",
	advertise_addr => $ip, bind_addr => $ip, ports => \%ports, node_id => '11111111-2222-3333-4444-555555555555',
	acl => { enabled => JSON::PP::true, default_policy => 'deny', down_policy => 'extend-cache' });
my $raftd = Frame::Daemon->new('raftd', { %common });
my $gossip = Frame::Gossip->new($raftd->{dir}, Frame::Gossip::server('n1', $ip, $ports{server}, tags => { id => $common{node_id} }));
my $n = Frame::Daemon->new('httpd', { %common, addresses => { http => [$ip] } }, tmp => $raftd->{tmp});
@$n{qw(ip ports)} = ($ip, \%ports);
my $token = '';
my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/;

sub ask { my ($m, $p, $body, $as) = @_; return Raw->new($n)->ask($m, $p, { 'X-Consul-Token' => $as // $token }, ref $body ? $json->encode($body) : $body) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub get { my $r = ask(@_); return $r->{status} == 200 ? $json->decode($r->{body}) : "$r->{status} $r->{body}" }
sub put { return get('PUT', @_) }
sub names { return join ' ', sort map { $_->{Name} // $_->{Description} } @{$_[0]} }
sub wait_for
{
	my ($code) = @_;
	my $end = time + 30;

	until ($code->()) { return 0 if time > $end; select undef, undef, undef, 0.05 }
	return 1;
}

ok wait_for(sub { text('GET', '/v1/status/leader') eq qq(200 "$ip:$ports{server}") }), 'a leader, told to anyone';
my ($no_acl) = ("403 Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission");

# ---- the first token
like text('GET', '/v1/acl/tokens'), qr/^403 Permission denied/, 'nobody may list tokens';
is text('GET', '/v1/acl/token/self'), '403 ACL not found', 'no token is no self';
is text('GET', '/v1/acl/token/self', undef, 'no-such'), '403 ACL not found', 'an unknown token';
like text('PUT', '/v1/acl/bootstrap', '{"Nope":1}'), qr/^400 Bad request: Request decoding failed: json: unknown field "Nope"/, 'a body that is none';
is text('PUT', '/v1/acl/bootstrap', '{"BootstrapSecret":"x"}'), '400 Bad request: invalid bootstrap secret: it is not a UUID', 'a secret that is none';
my $first = put('/v1/acl/bootstrap', '');
is $first->{ID}, $first->{SecretID}, 'the first token has its secret as ID too';
like "$first->{AccessorID} $first->{SecretID}", qr/^$uuid $uuid$/, 'both are fresh';
is $first->{Description}, 'Bootstrap Token (Global Management)', 'and says what it is';
is_deeply $first->{Policies}, [{ ID => '00000000-0000-0000-0000-000000000001', Name => 'global-management' }], 'its policy';
like $first->{CreateTime}, qr/^20\d\d-\d\d-\d\dT[\d:.]+Z$/, 'its time';
is join(' ', sort keys %$first), 'AccessorID CreateIndex CreateTime Description Hash ID Local ModifyIndex Policies SecretID', 'and nothing that it has not';
my $again = text('PUT', '/v1/acl/bootstrap', '');
like $again, qr/^403 Permission denied: ACL bootstrap no longer allowed \(reset index: \d+\)$/, 'once';
my ($reset) = $again =~ /index: (\d+)/;
$token = $first->{SecretID};
is get('GET', '/v1/acl/token/self')->{AccessorID}, $first->{AccessorID}, 'self';

# ---- and again, when an operator wants it
sub reset_file { my ($text) = @_; open my $f, '>', "$data/acl-bootstrap-reset" or die; print $f $text; close $f }
reset_file($reset + 1);
is text('PUT', '/v1/acl/bootstrap', ''), "500 Invalid bootstrap reset index (specified @{[$reset + 1]}, reset index: $reset)", 'a reset with another index';
reset_file("nonsense\n");
like text('PUT', '/v1/acl/bootstrap', ''), qr/^403 .*no longer allowed/, 'a reset file without a number';
reset_file(" $reset\n");
my $second = put('/v1/acl/bootstrap', { BootstrapSecret => '0d1c5bbb-3c11-4ddb-a2e3-cc5ff0d8d6a5' });
is $second->{SecretID}, '0d1c5bbb-3c11-4ddb-a2e3-cc5ff0d8d6a5', 'with the right index, and a secret that was given';
ok !-e "$data/acl-bootstrap-reset", 'the file has served';
like text('PUT', '/v1/acl/bootstrap', ''), qr/^403 .*no longer allowed/, 'and lets nobody in again';

# ---- policies
my $p = put('/v1/acl/policy', { Name => 'kv-ro', Description => 'd', Rules => 'key_prefix "" { policy = "read" }' });
like $p->{ID}, qr/^$uuid$/, 'a policy is made';
is join(' ', sort keys %$p), 'CreateIndex Description Hash ID ModifyIndex Name Rules', 'its fields';
is_deeply get('GET', "/v1/acl/policy/$p->{ID}"), $p, 'it is read by ID';
is_deeply get('GET', '/v1/acl/policy/name/KV-RO'), $p, 'and by name, whatever its case';
my ($listed) = grep { $_->{Name} eq 'kv-ro' } @{get('GET', '/v1/acl/policies')};
is join(' ', sort keys %$listed), 'CreateIndex Datacenters Description Hash ID ModifyIndex Name', 'a list has no rules, and Datacenters';
is $listed->{Datacenters}, undef, 'which are null';
is text('PUT', '/v1/acl/policy', { Name => 'kv-ro' }), '500 Invalid Policy: A Policy with Name "kv-ro" already exists', 'a name twice';
is text('PUT', '/v1/acl/policy', { Name => 'a b' }), "500 Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed", 'a bad name';
is text('PUT', '/v1/acl/policy', { Name => 'n' x 129 }), "500 Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed", 'one too long';
is text('PUT', '/v1/acl/policy', {}), '500 Invalid Policy: no Name is set', 'no name';
like text('PUT', '/v1/acl/policy', { Name => 'x', Rules => 'key {' }), qr/^500 Failed to parse ACL rules: /, 'rules that are none';
is text('PUT', '/v1/acl/policy', '{"Name":"x","Nope":1}'), '400 Bad request: Policy decoding failed: json: unknown field "Nope"', 'an unknown field';
is text('PUT', '/v1/acl/policy', ''), '400 Bad request: Policy decoding failed: EOF', 'no body';
is text('PUT', '/v1/acl/policy', { ID => $p->{ID}, Name => 'x' }), '400 Bad request: Cannot specify the ID when creating a new policy', 'an ID for a new one';
is text('PUT', "/v1/acl/policy/$p->{ID}", { ID => '1', Name => 'x' }), '400 Bad request: Policy ID in URL and payload do not match', 'two IDs';
is text('PUT', '/v1/acl/policy/short', { Name => 'x' }), '500 Policy ID invalid UUID', 'an ID that is none';
is text('PUT', '/v1/acl/policy/11111111-1111-4111-8111-111111111111', { Name => 'x' }), '500 cannot find policy 11111111-1111-4111-8111-111111111111', 'an unknown ID';
my $changed = put("/v1/acl/policy/$p->{ID}", { Name => 'kv-reader', Rules => 'key_prefix "" { policy = "list" }', Datacenters => ['dc1'] });
is "$changed->{Name} $changed->{CreateIndex} @{$changed->{Datacenters}}", "kv-reader $p->{CreateIndex} dc1", 'a policy is renamed';
isnt $changed->{Hash}, $p->{Hash}, 'with another hash';
my $mgmt = get('GET', '/v1/acl/policy/name/global-management');
is "$mgmt->{ID} $mgmt->{Description}", '00000000-0000-0000-0000-000000000001 Builtin Policy that grants unlimited access', 'the builtin policy';
is text('DELETE', "/v1/acl/policy/$mgmt->{ID}"), '500 Delete operation not permitted on the builtin global-management policy', 'cannot be deleted';
is text('PUT', "/v1/acl/policy/$mgmt->{ID}", { %$mgmt, Rules => '' }), '500 Changing the Rules for the builtin global-management policy is not permitted', 'nor its rules changed';
is text('PUT', "/v1/acl/policy/$mgmt->{ID}", { %$mgmt, Datacenters => ['dc1'] }), '500 Changing the Datacenters of the builtin global-management policy is not permitted', 'nor its datacenters';
is put("/v1/acl/policy/$mgmt->{ID}", { %$mgmt, Description => 'all' })->{Description}, 'all', 'but described otherwise';
is text('GET', '/v1/acl/policy/11111111-1111-4111-8111-111111111111'), '403 ACL not found', 'an unknown policy';
is text('GET', '/v1/acl/policy/name/none'), '403 ACL not found', 'one by an unknown name';
is text('GET', '/v1/acl/policy/'), '400 Bad request: Missing policy ID', 'no ID';
is text('DELETE', '/v1/acl/policy/11111111-1111-4111-8111-111111111111'), '200 true', 'what is not there is deleted';

# ---- roles
my $role = put('/v1/acl/role', { Name => 'ops', Policies => [{ Name => 'kv-reader' }, { ID => $p->{ID} }], ServiceIdentities => [{ ServiceName => 'web' }],
	NodeIdentities => [{ NodeName => 'n1', Datacenter => 'dc1' }] });
is_deeply $role->{Policies}, [{ ID => $p->{ID}, Name => 'kv-reader' }], 'a role links to a policy once, by name or ID';
is_deeply [@$role{qw(ServiceIdentities NodeIdentities)}], [[{ ServiceName => 'web' }], [{ NodeName => 'n1', Datacenter => 'dc1' }]], 'its identities';
is_deeply get('GET', '/v1/acl/role/name/ops'), $role, 'by name';
is_deeply get('GET', "/v1/acl/role/$role->{ID}"), $role, 'by ID';
is names(get('GET', "/v1/acl/roles?policy=$p->{ID}")), 'ops', 'of a policy';
is names(get('GET', "/v1/acl/roles?policy=$mgmt->{ID}")), '', 'of another';
is text('GET', '/v1/acl/role/name/none'), '404 ', 'an unknown role';
is text('PUT', '/v1/acl/role', { Name => 'ops' }), '500 Invalid Role: A Role with Name "ops" already exists', 'a name twice';
is text('PUT', '/v1/acl/role', { Name => 'x', Policies => [{ Name => 'none' }] }), '500 No such ACL policy with name "none"', 'a policy that is not there';
is text('PUT', '/v1/acl/role', { Name => 'x', ServiceIdentities => [{}] }), '500 Service identity is missing the service name field on this role', 'an identity of nobody';
is text('PUT', '/v1/acl/role', { Name => 'x', NodeIdentities => [{ NodeName => 'a' }] }), '500 Node identity is missing the datacenter field on this role', 'of a node nowhere';
is text('PUT', '/v1/acl/role', '{"Nope":1}'), '400 Bad request: Role decoding failed: json: unknown field "Nope"', 'an unknown field';
is text('PUT', "/v1/acl/role/$role->{ID}", { ID => 'x', Name => 'y' }), '400 Bad request: Role ID in URL and payload do not match', 'two IDs';
my $brief = put('/v1/acl/role', { Name => 'brief' });
is put("/v1/acl/role/$brief->{ID}", { Name => 'short', Description => 'd' })->{Name}, 'short', 'a role is changed';
is text('DELETE', "/v1/acl/role/$brief->{ID}"), '200 true', 'a role is deleted';
is text('GET', "/v1/acl/role/$brief->{ID}"), '404 ', 'and gone';

# ---- tokens
my $t = put('/v1/acl/token', { Description => 'one', Policies => [{ Name => 'kv-reader' }], Roles => [{ Name => 'ops' }], ExpirationTTL => '1h' });
like "$t->{AccessorID} $t->{SecretID}", qr/^$uuid $uuid$/, 'a token is made';
is_deeply [@$t{qw(Policies Roles)}], [[{ ID => $p->{ID}, Name => 'kv-reader' }], [{ ID => $role->{ID}, Name => 'ops' }]], 'its links';
like $t->{ExpirationTime}, qr/^20\d\d-.*Z$/, 'it expires';
ok !exists $t->{ExpirationTTL}, 'at a time, no more after one';
is_deeply get('GET', "/v1/acl/token/$t->{AccessorID}"), $t, 'it is read';
is get('GET', '/v1/acl/token/self', undef, $t->{SecretID})->{Description}, 'one', 'self';
is names(get('GET', "/v1/acl/tokens?policy=$p->{ID}")), 'one', 'of a policy';
is names(get('GET', "/v1/acl/tokens?role=$role->{ID}")), 'one', 'of a role';
is names(get('GET', '/v1/acl/tokens')), 'Anonymous Token Bootstrap Token (Global Management) Bootstrap Token (Global Management) one', 'all of them';
my $expanded = get('GET', "/v1/acl/token/$t->{AccessorID}?expanded=true");
is names($expanded->{ExpandedPolicies}) . ' ' . names($expanded->{ExpandedRoles}), 'kv-reader ops', 'with what its links stand for';
my $preset = { AccessorID => 'aaaaaaaa-1111-4222-8333-444444444444', SecretID => 'bbbbbbbb-1111-4222-8333-444444444444', Description => 'preset', Local => JSON::PP::true };
is put('/v1/acl/token', $preset)->{SecretID}, $preset->{SecretID}, 'IDs may be given';
is text('PUT', '/v1/acl/token', $preset), '500 Invalid Token: AccessorID is already in use', 'once';
is text('PUT', '/v1/acl/token', { %$preset, AccessorID => 'aaaaaaaa-1111-4222-8333-444444444445' }), '500 Invalid Token: SecretID is already in use', 'both';
is text('PUT', '/v1/acl/token', { SecretID => 'x' }), '500 Invalid Token: SecretID is not a valid UUID', 'a secret that is none';
is text('PUT', '/v1/acl/token', { AccessorID => '00000000-0000-0000-0000-000000000003' }),
	'500 Invalid Token: UUIDs with the prefix "00000000-0000-0000-0000-0000000000" are reserved', 'a reserved one';
is text('PUT', '/v1/acl/token', { ExpirationTTL => '59s' }), '500 ExpirationTime cannot be less than 1m0s in the future (was 59s)', 'too short';
is text('PUT', '/v1/acl/token', { ExpirationTTL => '25h' }), '500 ExpirationTime cannot be more than 24h0m0s in the future (was 25h0m0s)', 'too long';
is text('PUT', '/v1/acl/token', { ExpirationTTL => '-1s' }), "500 Token Expiration TTL '-1s' should be > 0", 'negative';
is text('PUT', '/v1/acl/token', { AuthMethod => 'x' }), '500 AuthMethod field is disallowed outside of Login', 'an auth method';
is text('PUT', '/v1/acl/token', { Policies => [{ Name => 'none' }] }), '500 No such ACL policy with name "none"', 'an unknown policy';
is text('PUT', '/v1/acl/token', { Roles => [{ Name => 'none' }] }), '500 No such ACL role with name "none"', 'an unknown role';
is text('PUT', '/v1/acl/token', { Rules => 'key "" {}' }), '500 Rules cannot be specified for this token', 'rules of old';
is text('PUT', '/v1/acl/token', '{"Policies":1}') =~ /^400 Bad request: Token decoding failed: /, 1, 'a field of the wrong type';
my $path = "/v1/acl/token/$t->{AccessorID}";
is text('PUT', $path, { SecretID => $preset->{SecretID} }), '500 Changing a tokens SecretID is not permitted', 'a secret stays';
is text('PUT', $path, { Local => JSON::PP::true }), "500 cannot toggle local mode of $t->{AccessorID}", 'so does the mode';
is text('PUT', $path, { ExpirationTTL => '1h' }), "500 Cannot change expiration time of $t->{AccessorID}", 'and the time';
is text('PUT', $path, { AccessorID => 'x' }), '400 Bad request: Token Accessor ID in URL and payload do not match', 'two accessors';
is text('PUT', '/v1/acl/token/11111111-1111-4111-8111-111111111111', {}), '500 Cannot find token "11111111-1111-4111-8111-111111111111"', 'an unknown one';
my $updated = put($path, { Description => 'two', Policies => [{ Name => 'kv-reader' }] });
is_deeply [@$updated{qw(Description SecretID CreateTime ExpirationTime Roles)}], ['two', @$t{qw(SecretID CreateTime ExpirationTime)}, undef], 'the rest changes';
my $clone = put("/v1/acl/token/$preset->{AccessorID}/clone", { Description => 'copy' });
is "$clone->{Description} $clone->{Local}", 'copy 1', 'a copy';
isnt $clone->{SecretID}, $preset->{SecretID}, 'with a secret of its own';
is text('PUT', '/v1/acl/token/11111111-1111-4111-8111-111111111111/clone', {}), '403 ACL not found', 'a copy of nothing';
is text('DELETE', "/v1/acl/token/$first->{AccessorID}"), "500 Deletion of the request's authorization token is not permitted", 'one does not delete oneself';
is text('DELETE', '/v1/acl/token/00000000-0000-0000-0000-000000000002'), '500 Delete operation not permitted on the anonymous token', 'nor the anonymous one';
is text('DELETE', '/v1/acl/token/x'), '500 Accessor ID is missing or an invalid UUID', 'nor what is no accessor';
is text('DELETE', "/v1/acl/token/$clone->{AccessorID}"), '200 true', 'others';
is text('GET', "/v1/acl/token/$clone->{AccessorID}"), '403 ACL not found', 'are gone';

# ---- who may read only sees no secrets; who may not, nothing
put('/v1/acl/policy', { Name => 'acl-ro', Rules => 'acl = "read"' });
my $reader = put('/v1/acl/token', { Policies => [{ Name => 'acl-ro' }] })->{SecretID};
is get('GET', "/v1/acl/token/$t->{AccessorID}", undef, $reader)->{SecretID}, '<hidden>', 'a reader sees no secret';
is scalar(grep { $_->{SecretID} ne '<hidden>' } @{get('GET', '/v1/acl/tokens', undef, $reader)}), 0, 'in a list neither';
is get('GET', '/v1/acl/token/self', undef, $reader)->{SecretID}, $reader, 'but its own';
like text('PUT', '/v1/acl/token', {}, $reader), qr/^403 Permission denied: .*'acl:write'/, 'and changes nothing';
like text($_->[0], $_->[1], $_->[2], $t->{SecretID}), qr/^403 Permission denied: token with AccessorID '$t->{AccessorID}' lacks permission 'acl:$_->[3]'/, "$_->[0] $_->[1] without rights"
	for ['GET', '/v1/acl/policies', undef, 'read'], ['GET', '/v1/acl/roles', undef, 'read'], ['GET', '/v1/acl/auth-methods', undef, 'read'], ['GET', '/v1/acl/binding-rules', undef, 'read'],
		['POST', '/v1/acl/rules/translate', 'key "" {}', 'read'], ['PUT', '/v1/acl/policy', { Name => 'x' }, 'write'],
		['PUT', '/v1/acl/role', { Name => 'x' }, 'write'], ['PUT', '/v1/acl/auth-method', { Name => 'x' }, 'write'], ['PUT', '/v1/acl/binding-rule', {}, 'write'],
		['DELETE', "/v1/acl/role/$role->{ID}", undef, 'write'], ['DELETE', '/v1/acl/auth-method/x', undef, 'write'], ['DELETE', "/v1/acl/policy/$p->{ID}", undef, 'write'];

# ---- a policy that goes leaves its links
my $gone = put('/v1/acl/policy', { Name => 'gone' });
my $linked = put('/v1/acl/token', { Description => 'linked', Policies => [{ Name => 'gone' }, { Name => 'kv-reader' }] });
is text('DELETE', "/v1/acl/policy/$gone->{ID}"), '200 true', 'a policy is deleted';
is_deeply get('GET', "/v1/acl/token/$linked->{AccessorID}")->{Policies}, [{ ID => $p->{ID}, Name => 'kv-reader' }], 'its links are not shown any more';

# ---- the rest of the family
is_deeply get('GET', '/v1/acl/replication'), { Enabled => JSON::PP::false, Running => JSON::PP::false, SourceDatacenter => '', ReplicationType => '', ReplicatedIndex => 0,
	ReplicatedRoleIndex => 0, ReplicatedTokenIndex => 0, LastSuccess => '0001-01-01T00:00:00Z', LastError => '0001-01-01T00:00:00Z' }, 'one datacenter replicates nothing';
is ask('GET', '/v1/acl/replication', undef, '')->{status}, 200, 'which is told to anyone, for monitors';
like text('POST', '/v1/acl/rules/translate', 'key "a" { policy = "read" }'), qr/^200 key_prefix "a" \{\n\s*policy = "read"\n\}/, 'legacy rules in today\'s words';
like text('POST', '/v1/acl/rules/translate', 'key {'), qr/^400 Bad request: /, 'unless they are none';
is text('GET', "/v1/acl/rules/translate/$t->{AccessorID}"), '500 The specified token does not have any rules set', 'a token of today has none';
is text('GET', '/v1/acl/rules/translate/11111111-1111-4111-8111-111111111111'), '403 ACL not found', 'nor has an unknown one';
is text($_->[0], "/v1/acl/$_->[1]"), "410 Endpoint /v1/acl/$_->[1] for the legacy ACL system was removed in Consul 1.11.", "acl/$_->[1] is no more"
	for ['PUT', 'create'], ['PUT', 'update'], ['PUT', 'destroy/x'], ['GET', 'info/x'], ['PUT', 'clone/x'], ['GET', 'list'];
is_deeply get('POST', '/v1/internal/acl/authorize', [{ Resource => 'key', Access => 'read', Segment => 'a' }, { Resource => 'key', Access => 'write', Segment => 'a' }, { Resource => 'acl', Access => 'read' }], $t->{SecretID}),
	[{ Resource => 'key', Access => 'read', Segment => 'a', Allow => JSON::PP::true }, { Resource => 'key', Access => 'write', Segment => 'a', Allow => JSON::PP::false },
	{ Resource => 'acl', Access => 'read', Segment => '', Allow => JSON::PP::false }], 'what a token may do is told many at a time';
is text('POST', '/v1/internal/acl/authorize', [({ Resource => 'key', Access => 'read' }) x 65]), '400 Bad request: Refusing to process more than 64 authorizations at once', 'up to 64';

# ---- auth methods
sub b64 { my $s = MIME::Base64::encode_base64url($_[0]); return $s }
my $key = "$data/key.pem";
system("openssl genrsa -out $key 2048 2>/dev/null && openssl rsa -in $key -pubout -out $key.pub 2>/dev/null") == 0 or BAIL_OUT('no openssl');
my $pem = do { local $/; open my $f, '<', "$key.pub" or die; <$f> };
sub jwt
{
	my (%claims) = @_;
	my $text = b64('{"alg":"RS256","typ":"JWT"}') . '.' . b64($json->encode({ iss => 'us', aud => ['consul'], iat => int time, nbf => int(time) - 10, exp => int(time) + 600, %claims }));

	open my $f, '>', "$key.in" or die;
	print $f $text;
	close $f;
	my $sig = `openssl dgst -sha256 -sign $key $key.in`;
	return "$text." . b64($sig);
}
my $method = { Name => 'ci', Type => 'jwt', Description => 'the CI', MaxTokenTTL => '5m', TokenLocality => 'global', Config => { JWTValidationPubKeys => [$pem], BoundIssuer => 'us', BoundAudiences => ['consul'],
	ClaimMappings => { project => 'project', 'sub' => 'who' }, ListClaimMappings => { groups => 'groups' } } };
my $m = put('/v1/acl/auth-method', $method);
is "$m->{Name} $m->{Type} $m->{MaxTokenTTL} $m->{TokenLocality}", 'ci jwt 5m0s global', 'an auth method';
is_deeply $m->{Config}, $method->{Config}, 'its configuration is as it was given';
is_deeply get('GET', '/v1/acl/auth-method/CI'), $m, 'it is read';
is join(' ', sort keys %{get('GET', '/v1/acl/auth-methods')->[0]}), 'CreateIndex Description MaxTokenTTL ModifyIndex Name TokenLocality Type', 'a list has no configuration';
is text('GET', '/v1/acl/auth-method/none'), '404 ', 'an unknown one';
is text('PUT', '/v1/acl/auth-method', { Type => 'jwt' }), '500 Invalid Auth Method: no Name is set', 'no name';
is text('PUT', '/v1/acl/auth-method', { Name => 'x', Type => 'kubernetes' }), '500 Invalid Auth Method: Type should be one of: [jwt]', 'a type that is not ours';
is text('PUT', '/v1/acl/auth-method/ci', { %$method, MaxTokenTTL => '1s' }), '500 MaxTokenTTL 1s cannot be less than 1m0s', 'too short';
is text('PUT', '/v1/acl/auth-method/ci', { %$method, TokenLocality => 'x' }), "500 Invalid Auth Method: TokenLocality should be one of 'local' or 'global'", 'nowhere';
is text('PUT', '/v1/acl/auth-method/ci', { %$method, Name => 'x' }), '400 Bad request: AuthMethod Name in URL and payload do not match', 'two names';
like text('PUT', '/v1/acl/auth-method', { %$method, Name => 'x', Config => { Nope => 1 } }), qr/^500 Invalid Auth Method: /, 'a configuration that is none';

# ---- binding rules
my $rule = put('/v1/acl/binding-rule', { AuthMethod => 'ci', Selector => 'value.project == "web" and "dev" in list.groups', BindType => 'service', BindName => 'ci-${value.who}' });
like $rule->{ID}, qr/^$uuid$/, 'a binding rule';
is_deeply get('GET', "/v1/acl/binding-rule/$rule->{ID}"), $rule, 'it is read';
is scalar @{get('GET', '/v1/acl/binding-rules?authmethod=ci')}, 1, 'of a method';
is scalar @{get('GET', '/v1/acl/binding-rules?authmethod=x')}, 0, 'of another';
is text('GET', '/v1/acl/binding-rule/11111111-1111-4111-8111-111111111111'), '404 ', 'an unknown one';
is text('PUT', '/v1/acl/binding-rule', { BindType => 'service', BindName => 'x' }), '500 Invalid Binding Rule: no AuthMethod is set', 'no method';
is text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'x', BindType => 'service', BindName => 'x' }), '500 cannot find auth method with name "x"', 'an unknown method';
is text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'ci', BindName => 'x' }), '500 Invalid Binding Rule: no BindType is set', 'no type';
is text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'ci', BindType => 'service' }), '500 Invalid Binding Rule: no BindName is set', 'no name';
is text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'ci', BindType => 'x', BindName => 'x' }), '500 Invalid Binding Rule: unknown BindType "x"', 'another type';
is text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'ci', BindType => 'service', BindName => '${value.none}' }), '500 Invalid Binding Rule: invalid BindName', 'an unknown claim in the name';
like text('PUT', '/v1/acl/binding-rule', { AuthMethod => 'ci', Selector => 'value.none == x', BindType => 'service', BindName => 'x' }),
	qr/^500 invalid Binding Rule: Selector is invalid: /, 'an unknown claim in the selector';
is text('PUT', "/v1/acl/binding-rule/$rule->{ID}", { AuthMethod => 'x' }), '500 the AuthMethod field of an Binding Rule is immutable', 'the method stays';
my $to_role = put('/v1/acl/binding-rule', { AuthMethod => 'ci', Selector => '"admin" in list.groups', BindType => 'role', BindName => 'ops' });
my $passing = put('/v1/acl/binding-rule', { AuthMethod => 'ci', BindType => 'node', BindName => 'node-${value.who}' });
is $passing->{BindType}, 'node', 'one for a node';
is put("/v1/acl/binding-rule/$passing->{ID}", { BindType => 'service', BindName => 'x', Description => 'other' })->{Description}, 'other', 'a binding rule is changed';
is text('PUT', "/v1/acl/binding-rule/$passing->{ID}", { ID => 'x', BindType => 'service', BindName => 'x' }), '400 Bad request: BindingRule ID in URL and payload do not match', 'two IDs';
is text('DELETE', "/v1/acl/binding-rule/$passing->{ID}"), '200 true', 'a binding rule is deleted';
is text('GET', "/v1/acl/binding-rule/$passing->{ID}"), '404 ', 'and gone';

# ---- login
sub login { my ($jwt, $more) = @_; return ask('POST', '/v1/acl/login', { AuthMethod => 'ci', BearerToken => $jwt, %{$more // {}} }, 'not-looked-at') }
my $r = login(jwt(project => 'web', sub => 'Job1', groups => ['dev', 'x']), { Meta => { pod => 'p1' } });
is $r->{status}, 200, 'a login' or diag $r->{body};
my $in = $json->decode($r->{body});
is_deeply [@$in{qw(Description AuthMethod Local ServiceIdentities Roles)}],
	['token created via login: {"pod":"p1"}', 'ci', JSON::PP::false, [{ ServiceName => 'ci-job1' }], undef], 'gives a token for what the rule says';
like $in->{ExpirationTime}, qr/Z$/, 'which expires';
is get('GET', '/v1/acl/token/self', undef, $in->{SecretID})->{AccessorID}, $in->{AccessorID}, 'and counts';
$r = login(jwt(project => 'db', sub => 'a', groups => ['admin']));
is_deeply $json->decode($r->{body})->{Roles}, [{ ID => $role->{ID}, Name => 'ops' }], 'another rule gives a role';
$r = login(jwt(project => 'web', sub => 'a', groups => ['x']));
is "$r->{status} $r->{body}", '403 Permission denied', 'no rule, no token';
$r = login(jwt(project => 'web', sub => 'a', groups => ['dev'], exp => int(time) - 3600, iat => int(time) - 7200, nbf => int(time) - 7200));
like "$r->{status} $r->{body}", qr/^403 Permission denied: /, 'a token of yesterday';
$r = login(jwt(project => 'web', sub => 'a', groups => ['dev'], iss => 'them'));
like "$r->{status} $r->{body}", qr/^403 Permission denied: /, 'of somebody else';
$r = login(substr(jwt(project => 'web'), 0, -8) . 'AAAAAAAA');
like "$r->{status} $r->{body}", qr/^403 Permission denied: /, 'with another signature';
is text('POST', '/v1/acl/login', { AuthMethod => 'none', BearerToken => 'x' }), '403 ACL not found', 'an unknown method';
is text('POST', '/v1/acl/login', '{"Nope":1}'), '400 Bad request: Failed to decode request body: json: unknown field "Nope"', 'an unknown field';
is text('PUT', "/v1/acl/token/$in->{AccessorID}/clone", {}), '500 Cannot clone a token created from an auth method', 'such a token is not cloned';
is text('POST', '/v1/acl/logout', '', $first->{SecretID}), '403 Permission denied', 'one does not log out who did not log in';
is text('POST', '/v1/acl/logout', '', $in->{SecretID}), '200 true', 'logout';
is text('GET', '/v1/acl/token/self', undef, $in->{SecretID}), '403 ACL not found', 'and it is gone';
is text('POST', '/v1/acl/logout', '', $in->{SecretID}), '403 ACL not found', 'once';

# ---- waiting
my $index = ask('GET', '/v1/acl/policies')->{headers}{'X-Consul-Index'};
my $wait = Raw->new($n);
$wait->send("GET /v1/acl/policies?index=$index&wait=30s HTTP/1.1\r\nHost: x\r\nX-Consul-Token: $token\r\n\r\n");
put('/v1/acl/policy', { Name => 'woken' });
my $woken = $wait->reply;
like $woken->{body}, qr/"Name":"woken"/, 'a list that is waited for wakes';

# ---- a snapshot, a hard end, a restart
sub state_of { return join "\n", map { my $r = ask('GET', $_); "$_ $r->{body}" } '/v1/acl/tokens', '/v1/acl/policies', '/v1/acl/roles', '/v1/acl/auth-methods', '/v1/acl/auth-method/ci', '/v1/acl/binding-rules' }
my $before = state_of();
like $before, qr/woken/, 'all of it';
my $archive = ask('GET', '/v1/snapshot');
is $archive->{status}, 200, 'a snapshot';
put('/v1/acl/policy', { Name => 'after' });
is text('DELETE', '/v1/acl/auth-method/ci'), '200 true', 'an auth method goes';
is text('GET', '/v1/acl/binding-rules'), '200 []', 'its rules with it';
is scalar(grep { ($_->{AuthMethod} // '') eq 'ci' } @{get('GET', '/v1/acl/tokens')}), 0, 'and its tokens';
is text('PUT', '/v1/snapshot', $archive->{body}), '200 ', 'the snapshot is restored';
is state_of(), $before, 'everything is as it was';
$raftd->stop('KILL');
$raftd->spawn;
ok wait_for(sub { text('GET', '/v1/status/leader') eq qq(200 "$ip:$ports{server}") && ask('GET', '/v1/acl/token/self')->{status} == 200 }), 'killed, and back';
is state_of(), $before, 'with all of it';
like text('PUT', '/v1/acl/bootstrap', ''), qr/^403 .*no longer allowed/, 'and still bootstrapped';

# ---- no secret is in a log
my $log = $raftd->log;
unlike $log, qr/\Q$_\E/, 'a secret is not logged' for $first->{SecretID}, $preset->{SecretID}, $in->{SecretID};

done_testing;
