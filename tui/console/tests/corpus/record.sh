#!/bin/bash
# Records sessions of real programs, and the screens that tmux makes of them, for `replay.rs`.
#
# Usage: record.sh [NAME…]     (needs tmux, vim, htop, less, fzf and, for `apt`, root on Debian)
#
# Each is a program in a pane of 80×24: NAME.bytes is what it printed, NAME.screen the cursor's column and row and
# what was on tmux's screen then.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
name=none
tmux() { command tmux -L "record-$name-$$" -f /dev/null "$@"; }
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$folder"' EXIT
export LC_ALL=C.UTF-8

# begin NAME: a shell in a pane that is recorded.
begin() {
    name=$1
    tmux new-session -d -c "$folder" -x 80 -y 24 -s r "env -i HOME=$folder PATH=$PATH LC_ALL=C.UTF-8 PS1='$ ' TERM=xterm-256color bash --norc --noprofile"
    tmux set -g status off
    tmux resize-window -t r -x 80 -y 24
    sleep 0.5
    tmux pipe-pane -t r "cat > $folder/$name.bytes"
    # What was on the screen before the record began is no part of it.
    keys 'clear' Enter
    sleep 0.5
}
keys() { tmux send-keys -t r "$@"; sleep 0.4; }
# done_: keeps the screen and what led to it.
done_() {
    sleep 1
    { tmux display -p -t r '#{cursor_x} #{cursor_y}'; tmux capture-pane -p -t r; } > "$folder/$name.screen"
    tmux pipe-pane -t r
    tmux kill-server
    mv "$folder/$name.bytes" "$folder/$name.screen" .
}

record_vim() {
    begin vim
    keys "vim -Nu NONE -c 'syntax on' -c 'set nu hls'" Enter
    keys i '# Überschrift 漢字' Enter 'fn main() { println!("x"); }' Enter Escape
    keys 'yy8p' ':split' Enter '/main' Enter 'dd' 'gg' 'O' 'first' Escape ':vsplit' Enter 'G'
    done_
}
record_less() {
    begin less
    keys 'seq -f "line %04g of a long file" 1 500 > f; clear' Enter
    keys 'less f' Enter Space Space '/line 0123' Enter n b k k
    done_
}
record_htop() {
    begin htop
    # In a world of its own, so that it shows nothing of the machine.
    keys "unshare -rpf --mount-proc bash -c 'sleep 98 & sleep 99 & exec htop -d 100'" Enter
    sleep 2
    keys F5 Down Down
    done_
}
record_fzf() {
    begin fzf
    keys 'seq 1 3000 | fzf --border --header "Pick one"' Enter
    sleep 1
    keys '42' Up Up
    done_
}
record_tmux() {
    begin tmux
    echo "set -g status-right here; set -g default-command 'PS1=\"> \" exec bash --norc'" > "$folder/inner.conf"
    keys "clear; tmux -L inner$$ -f inner.conf" Enter
    sleep 1
    keys 'seq 1 50' Enter
    # Keys that come at once are a paste.
    for key in C-b % 'echo right' Enter C-b '"' 'seq 1 9' Enter; do keys "$key"; done
    done_
    command tmux -L "inner$$" kill-server || true
}
record_apt() {
    begin apt
    keys 'apt-get -o Dpkg::Progress-Fancy=1 --reinstall -y install less 2>/dev/null' Enter
    sleep 15
    done_
}

# The screens of vttest's menus, for `vttest.rs`: all in one file, one after the other.
record_vttest() {
    for menu in 1 2 8; do
        name="vttest-$menu"
        tmux new-session -d -x 80 -y 24 -s r "env -i PATH=$PATH LC_ALL=C.UTF-8 TERM=xterm-256color vttest 24x80.80"
        tmux set -g status off
        tmux resize-window -t r -x 80 -y 24
        sleep 1
        keys "$menu" Enter
        : > "$folder/screens"
        for number in $(seq 1 40); do
            sleep 1
            tmux capture-pane -p -t r > "$folder/one"
            if grep -q 'Enter choice number' "$folder/one"; then break; fi
            echo "=== $number" >> "$folder/screens"
            cat "$folder/one" >> "$folder/screens"
            keys Enter
        done
        tmux kill-server
        cp "$folder/screens" "$name.screens"
    done
}

for one in "${@:-vim less htop fzf tmux apt vttest}"; do
    for program in $one; do "record_$program"; done
done
