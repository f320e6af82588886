# FakeDaemons.pm - daemons that a test script plays, for another daemon that is alone.
#
#	my $f = FakeDaemons->new($dir, raftd => { 'kv.get' => sub { my ($o, $q) = @_; return \[] } }, gossipd => { ... });
#	$f->serve(sub { $done }) or die;
#
# A handler is given the options and the request. It returns a reference to
# the reply's payload, [payload, index], { error => 403, text => '...' },
# { raw => BYTES }, or undef: then the question waits in $f->waiting('kv.get')
# until $f->answer($question, payload, index).
package FakeDaemons;

use strict;
use warnings;
use Frame;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP ();
use Time::HiRes qw(time);

sub new
{
	my ($class, $dir, %daemons) = @_;
	my $self = bless { dir => $dir, waiting => {}, conns => {}, requests => [] }, $class;

	$self->play($_, $daemons{$_}) for keys %daemons;
	return $self;
}

# Begin to be this daemon, or go on with other handlers.
sub play
{
	my ($self, $name, $handlers) = @_;

	$self->{handlers}{$name} = $handlers;
	return if $self->{listen}{$name};
	unlink "$self->{dir}/$name.sock";
	$self->{listen}{$name} = IO::Socket::UNIX->new(Local => "$self->{dir}/$name.sock", Type => Socket::SOCK_STREAM(), Listen => 5) or die "$name: $!";
}

# As if the daemon had died.
sub end
{
	my ($self, $name) = @_;

	close delete $self->{listen}{$name} if $self->{listen}{$name};
	unlink "$self->{dir}/$name.sock";
	for my $c (grep { $_->{name} eq $name } values %{$self->{conns}}) {
		$self->_drop($c->{fh});
	}
}

sub _drop
{
	my ($self, $fh) = @_;

	delete $self->{conns}{fileno $fh};
	for my $op (keys %{$self->{waiting}}) {
		$self->{waiting}{$op} = [grep { $_->{fh} != $fh } @{$self->{waiting}{$op}}];
	}
	close $fh;
}

# Serve until the code returns true (1), or for so many seconds (0).
sub serve
{
	my ($self, $code, $seconds) = @_;
	my $end = time + ($seconds // 30);

	while (!$code->()) {
		return 0 if time > $end;
		my %listen = reverse map { $_ => fileno $self->{listen}{$_} } keys %{$self->{listen}};
		for my $fh (IO::Select->new(values %{$self->{listen}}, map { $_->{fh} } values %{$self->{conns}})->can_read(0.05)) {
			my $name = $listen{fileno $fh};

			if (defined $name) {
				my $c = $fh->accept or next;
				$self->{conns}{fileno $c} = { name => $name, fh => $c };
			} elsif ($self->{conns}{fileno $fh}) {
				$self->_request($self->{conns}{fileno $fh});
			}
		}
	}
	return 1;
}

sub _request
{
	my ($self, $c) = @_;
	my ($kind, undef, $op, $id, $body) = Frame::read_frame($c->{fh});

	if (!defined $kind) {
		$self->_drop($c->{fh});
		return;
	}
	if ($kind == 4) {	# given up
		for my $name (keys %{$self->{waiting}}) {
			$self->{waiting}{$name} = [grep { $_->{fh} != $c->{fh} || $_->{id} != $id } @{$self->{waiting}{$name}}];
		}
		return;
	}
	return if $kind != 1;
	my $q = { fh => $c->{fh}, op => $op, id => $id, name => $Frame::NAME{$op}, at => time };
	$q->{o} = Frame::unpack_value(\$body);
	$q->{q} = Frame::unpack_value(\$body) if length $body;
	push @{$self->{requests}}, $q;
	return $self->_batch($c, $q) if $q->{name} eq 'catalog.batch' && !$self->{handlers}{$c->{name}}{'catalog.batch'};
	my $handler = $self->{handlers}{$c->{name}}{$q->{name}} or die "$c->{name} is asked for $q->{name}";
	my $a = $handler->($q->{o}, $q->{q});
	return push @{$self->{waiting}{$q->{name}}}, $q if !defined $a;
	$self->_send($q, $a);
}

# Each item as the operation that it is. What is refused with 403, or with item => 1, is refused alone; any other error is that of the whole.
sub _batch
{
	my ($self, $c, $q) = @_;
	my @results;

	for my $item (@{$q->{q}{Items}}) {
		my ($name, $list) = $item->{Register} ? ('catalog.register', $item->{Register}) : ('catalog.deregister', $item->{Deregister});
		my $o = { %{$q->{o}}, Token => $item->{Token} // $q->{o}{Token} };
		my $handler = $self->{handlers}{$c->{name}}{$name} or die "$c->{name} is asked for $name";
		push @{$self->{requests}}, { %$q, name => $name, o => $o, q => $list->[0] };
		my $a = $handler->($o, $list->[0]);
		return push @{$self->{waiting}{$q->{name}}}, $q if !defined $a;
		return $self->_send($q, $a) if ref $a eq 'HASH' && ($a->{raw} || ($a->{error} != 403 && !$a->{item}));
		push @results, ref $a eq 'HASH' ? { Code => $a->{error}, Text => $a->{text} } : {};
	}
	$self->_send($q, \\@results);
}

sub _send
{
	my ($self, $q, $a) = @_;
	my ($flags, $body) = (0, undef);

	if (ref $a eq 'HASH') {
		$flags = 1 if $a->{error};
		$body = $a->{raw} // Frame::pack_value({ Code => $a->{error}, Text => $a->{text} });
	} else {
		my ($payload, $index) = ref $a eq 'ARRAY' ? @$a : ($$a, 5);
		$body = Frame::pack_value({ Index => $index, KnownLeader => JSON::PP::true }) . Frame::pack_value($payload);
	}
	Frame::send_frame($q->{fh}, 2, $flags, $q->{op}, $q->{id}, $body);
}

# Questions of this operation that wait for an answer.
sub waiting { my ($self, $name) = @_; return @{$self->{waiting}{$name} // []}; }

# Everything that was asked so far, of one operation if it is named.
sub requests
{
	my ($self, $name) = @_;

	return grep { !defined $name || $_->{name} eq $name } @{$self->{requests}};
}

sub answer
{
	my ($self, $q, $payload, $index) = @_;

	$self->{waiting}{$q->{name}} = [grep { $_ != $q } @{$self->{waiting}{$q->{name}}}];
	$self->_send($q, [$payload, $index // 5]);
}

1;
