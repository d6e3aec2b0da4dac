if exists("b:did_ftplugin")
  finish
endif
let b:did_ftplugin = 1

setlocal comments=:# commentstring=#\ %s
setlocal expandtab shiftwidth=2 softtabstop=2
" Names with their sigils are words: * and # find them.
setlocal iskeyword+=%,@-@,.
" `:make` asks `lutc check`, and goes to the first mistake.
setlocal makeprg=lutc\ check\ %:S
setlocal errorformat=%f:%l:%c:\ %trror:\ %m,%-G%.%#

let b:undo_ftplugin = "setlocal comments< commentstring< expandtab< shiftwidth< softtabstop< iskeyword< makeprg< errorformat<"
