autocmd BufRead,BufNewFile *.lir setfiletype lir
