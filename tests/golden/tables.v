// tables.v
module tables (
  input  wire signed [2:0] a,
  input  wire signed [2:0] b,
  input  wire        [8:0] k,
  input  wire        [2:0] p,
  output wire signed [3:0] u,
  output wire signed [3:0] v,
  output wire        [3:0] w,
  output wire              q,
  output wire signed [5:0] s
);

  function [3:0] wave;
    input [2:0] key;
    case (key)
      3'd0: wave = 4'h3; 3'd1: wave = 4'hc; 3'd2: wave = 4'h0; 3'd3: wave = 4'h7;
      3'd4: wave = 4'h8; 3'd5: wave = 4'h1; 3'd6: wave = 4'h5; 3'd7: wave = 4'he;
      default: wave = 4'bx;
    endcase
  endfunction

  (* syn_romstyle = "logic" *)
  reg [3:0] curve [0:511];
  initial begin
    curve[  0] = 4'h0; curve[  1] = 4'h3; curve[  2] = 4'h6; curve[  3] = 4'h9;
    curve[  4] = 4'hd; curve[  5] = 4'h1; curve[  6] = 4'h5; curve[  7] = 4'ha;
    curve[  8] = 4'hf; curve[  9] = 4'h3; curve[ 10] = 4'h8; curve[ 11] = 4'he;
    curve[ 12] = 4'h3; curve[ 13] = 4'h9; curve[ 14] = 4'hf; curve[ 15] = 4'h5;
    curve[ 16] = 4'hc; curve[ 17] = 4'h2; curve[ 18] = 4'h9; curve[ 19] = 4'h0;
    curve[ 20] = 4'h7; curve[ 21] = 4'hf; curve[ 22] = 4'h6; curve[ 23] = 4'he;
    curve[ 24] = 4'h7; curve[ 25] = 4'hf; curve[ 26] = 4'h7; curve[ 27] = 4'h0;
    curve[ 28] = 4'h9; curve[ 29] = 4'h2; curve[ 30] = 4'hc; curve[ 31] = 4'h6;
    curve[ 32] = 4'h0; curve[ 33] = 4'ha; curve[ 34] = 4'h4; curve[ 35] = 4'he;
    curve[ 36] = 4'h9; curve[ 37] = 4'h4; curve[ 38] = 4'hf; curve[ 39] = 4'hb;
    curve[ 40] = 4'h7; curve[ 41] = 4'h2; curve[ 42] = 4'he; curve[ 43] = 4'hb;
    curve[ 44] = 4'h7; curve[ 45] = 4'h4; curve[ 46] = 4'h1; curve[ 47] = 4'he;
    curve[ 48] = 4'hc; curve[ 49] = 4'h9; curve[ 50] = 4'h7; curve[ 51] = 4'h5;
    curve[ 52] = 4'h3; curve[ 53] = 4'h2; curve[ 54] = 4'h0; curve[ 55] = 4'hf;
    curve[ 56] = 4'hf; curve[ 57] = 4'he; curve[ 58] = 4'hd; curve[ 59] = 4'hd;
    curve[ 60] = 4'hd; curve[ 61] = 4'hd; curve[ 62] = 4'he; curve[ 63] = 4'hf;
    curve[ 64] = 4'h0; curve[ 65] = 4'h1; curve[ 66] = 4'h2; curve[ 67] = 4'h3;
    curve[ 68] = 4'h5; curve[ 69] = 4'h7; curve[ 70] = 4'h9; curve[ 71] = 4'hc;
    curve[ 72] = 4'hf; curve[ 73] = 4'h1; curve[ 74] = 4'h4; curve[ 75] = 4'h8;
    curve[ 76] = 4'hb; curve[ 77] = 4'hf; curve[ 78] = 4'h3; curve[ 79] = 4'h7;
    curve[ 80] = 4'hc; curve[ 81] = 4'h0; curve[ 82] = 4'h5; curve[ 83] = 4'ha;
    curve[ 84] = 4'hf; curve[ 85] = 4'h5; curve[ 86] = 4'ha; curve[ 87] = 4'h0;
    curve[ 88] = 4'h7; curve[ 89] = 4'hd; curve[ 90] = 4'h3; curve[ 91] = 4'ha;
    curve[ 92] = 4'h1; curve[ 93] = 4'h8; curve[ 94] = 4'h0; curve[ 95] = 4'h8;
    curve[ 96] = 4'h0; curve[ 97] = 4'h8; curve[ 98] = 4'h0; curve[ 99] = 4'h8;
    curve[100] = 4'h1; curve[101] = 4'ha; curve[102] = 4'h3; curve[103] = 4'hd;
    curve[104] = 4'h7; curve[105] = 4'h0; curve[106] = 4'ha; curve[107] = 4'h5;
    curve[108] = 4'hf; curve[109] = 4'ha; curve[110] = 4'h5; curve[111] = 4'h0;
    curve[112] = 4'hc; curve[113] = 4'h7; curve[114] = 4'h3; curve[115] = 4'hf;
    curve[116] = 4'hb; curve[117] = 4'h8; curve[118] = 4'h4; curve[119] = 4'h1;
    curve[120] = 4'hf; curve[121] = 4'hc; curve[122] = 4'h9; curve[123] = 4'h7;
    curve[124] = 4'h5; curve[125] = 4'h3; curve[126] = 4'h2; curve[127] = 4'h1;
    curve[128] = 4'h0; curve[129] = 4'hf; curve[130] = 4'he; curve[131] = 4'hd;
    curve[132] = 4'hd; curve[133] = 4'hd; curve[134] = 4'hd; curve[135] = 4'he;
    curve[136] = 4'hf; curve[137] = 4'hf; curve[138] = 4'h0; curve[139] = 4'h2;
    curve[140] = 4'h3; curve[141] = 4'h5; curve[142] = 4'h7; curve[143] = 4'h9;
    curve[144] = 4'hc; curve[145] = 4'he; curve[146] = 4'h1; curve[147] = 4'h4;
    curve[148] = 4'h7; curve[149] = 4'hb; curve[150] = 4'he; curve[151] = 4'h2;
    curve[152] = 4'h7; curve[153] = 4'hb; curve[154] = 4'hf; curve[155] = 4'h4;
    curve[156] = 4'h9; curve[157] = 4'he; curve[158] = 4'h4; curve[159] = 4'ha;
    curve[160] = 4'h0; curve[161] = 4'h6; curve[162] = 4'hc; curve[163] = 4'h2;
    curve[164] = 4'h9; curve[165] = 4'h0; curve[166] = 4'h7; curve[167] = 4'hf;
    curve[168] = 4'h7; curve[169] = 4'he; curve[170] = 4'h6; curve[171] = 4'hf;
    curve[172] = 4'h7; curve[173] = 4'h0; curve[174] = 4'h9; curve[175] = 4'h2;
    curve[176] = 4'hc; curve[177] = 4'h5; curve[178] = 4'hf; curve[179] = 4'h9;
    curve[180] = 4'h3; curve[181] = 4'he; curve[182] = 4'h8; curve[183] = 4'h3;
    curve[184] = 4'hf; curve[185] = 4'ha; curve[186] = 4'h5; curve[187] = 4'h1;
    curve[188] = 4'hd; curve[189] = 4'h9; curve[190] = 4'h6; curve[191] = 4'h3;
    curve[192] = 4'h0; curve[193] = 4'hd; curve[194] = 4'ha; curve[195] = 4'h7;
    curve[196] = 4'h5; curve[197] = 4'h3; curve[198] = 4'h1; curve[199] = 4'h0;
    curve[200] = 4'hf; curve[201] = 4'hd; curve[202] = 4'hc; curve[203] = 4'hc;
    curve[204] = 4'hb; curve[205] = 4'hb; curve[206] = 4'hb; curve[207] = 4'hb;
    curve[208] = 4'hc; curve[209] = 4'hc; curve[210] = 4'hd; curve[211] = 4'he;
    curve[212] = 4'hf; curve[213] = 4'h1; curve[214] = 4'h2; curve[215] = 4'h4;
    curve[216] = 4'h7; curve[217] = 4'h9; curve[218] = 4'hb; curve[219] = 4'he;
    curve[220] = 4'h1; curve[221] = 4'h4; curve[222] = 4'h8; curve[223] = 4'hc;
    curve[224] = 4'h0; curve[225] = 4'h4; curve[226] = 4'h8; curve[227] = 4'hc;
    curve[228] = 4'h1; curve[229] = 4'h6; curve[230] = 4'hb; curve[231] = 4'h1;
    curve[232] = 4'h7; curve[233] = 4'hc; curve[234] = 4'h2; curve[235] = 4'h9;
    curve[236] = 4'hf; curve[237] = 4'h6; curve[238] = 4'hd; curve[239] = 4'h4;
    curve[240] = 4'hc; curve[241] = 4'h3; curve[242] = 4'hb; curve[243] = 4'h3;
    curve[244] = 4'hb; curve[245] = 4'h4; curve[246] = 4'hc; curve[247] = 4'h5;
    curve[248] = 4'hf; curve[249] = 4'h8; curve[250] = 4'h1; curve[251] = 4'hb;
    curve[252] = 4'h5; curve[253] = 4'hf; curve[254] = 4'ha; curve[255] = 4'h5;
    curve[256] = 4'h0; curve[257] = 4'hb; curve[258] = 4'h6; curve[259] = 4'h1;
    curve[260] = 4'hd; curve[261] = 4'h9; curve[262] = 4'h5; curve[263] = 4'h2;
    curve[264] = 4'hf; curve[265] = 4'hb; curve[266] = 4'h8; curve[267] = 4'h6;
    curve[268] = 4'h3; curve[269] = 4'h1; curve[270] = 4'hf; curve[271] = 4'hd;
    curve[272] = 4'hc; curve[273] = 4'ha; curve[274] = 4'h9; curve[275] = 4'h8;
    curve[276] = 4'h7; curve[277] = 4'h7; curve[278] = 4'h6; curve[279] = 4'h6;
    curve[280] = 4'h7; curve[281] = 4'h7; curve[282] = 4'h7; curve[283] = 4'h8;
    curve[284] = 4'h9; curve[285] = 4'ha; curve[286] = 4'hc; curve[287] = 4'he;
    curve[288] = 4'h0; curve[289] = 4'h2; curve[290] = 4'h4; curve[291] = 4'h6;
    curve[292] = 4'h9; curve[293] = 4'hc; curve[294] = 4'hf; curve[295] = 4'h3;
    curve[296] = 4'h7; curve[297] = 4'ha; curve[298] = 4'he; curve[299] = 4'h3;
    curve[300] = 4'h7; curve[301] = 4'hc; curve[302] = 4'h1; curve[303] = 4'h6;
    curve[304] = 4'hc; curve[305] = 4'h1; curve[306] = 4'h7; curve[307] = 4'hd;
    curve[308] = 4'h3; curve[309] = 4'ha; curve[310] = 4'h0; curve[311] = 4'h7;
    curve[312] = 4'hf; curve[313] = 4'h6; curve[314] = 4'hd; curve[315] = 4'h5;
    curve[316] = 4'hd; curve[317] = 4'h5; curve[318] = 4'he; curve[319] = 4'h7;
    curve[320] = 4'h0; curve[321] = 4'h9; curve[322] = 4'h2; curve[323] = 4'hb;
    curve[324] = 4'h5; curve[325] = 4'hf; curve[326] = 4'h9; curve[327] = 4'h4;
    curve[328] = 4'hf; curve[329] = 4'h9; curve[330] = 4'h4; curve[331] = 4'h0;
    curve[332] = 4'hb; curve[333] = 4'h7; curve[334] = 4'h3; curve[335] = 4'hf;
    curve[336] = 4'hc; curve[337] = 4'h8; curve[338] = 4'h5; curve[339] = 4'h2;
    curve[340] = 4'hf; curve[341] = 4'hd; curve[342] = 4'ha; curve[343] = 4'h8;
    curve[344] = 4'h7; curve[345] = 4'h5; curve[346] = 4'h3; curve[347] = 4'h2;
    curve[348] = 4'h1; curve[349] = 4'h0; curve[350] = 4'h0; curve[351] = 4'h0;
    curve[352] = 4'h0; curve[353] = 4'h0; curve[354] = 4'h0; curve[355] = 4'h0;
    curve[356] = 4'h1; curve[357] = 4'h2; curve[358] = 4'h3; curve[359] = 4'h5;
    curve[360] = 4'h7; curve[361] = 4'h8; curve[362] = 4'ha; curve[363] = 4'hd;
    curve[364] = 4'hf; curve[365] = 4'h2; curve[366] = 4'h5; curve[367] = 4'h8;
    curve[368] = 4'hc; curve[369] = 4'hf; curve[370] = 4'h3; curve[371] = 4'h7;
    curve[372] = 4'hb; curve[373] = 4'h0; curve[374] = 4'h4; curve[375] = 4'h9;
    curve[376] = 4'hf; curve[377] = 4'h4; curve[378] = 4'h9; curve[379] = 4'hf;
    curve[380] = 4'h5; curve[381] = 4'hb; curve[382] = 4'h2; curve[383] = 4'h9;
    curve[384] = 4'h0; curve[385] = 4'h7; curve[386] = 4'he; curve[387] = 4'h5;
    curve[388] = 4'hd; curve[389] = 4'h5; curve[390] = 4'hd; curve[391] = 4'h6;
    curve[392] = 4'hf; curve[393] = 4'h7; curve[394] = 4'h0; curve[395] = 4'ha;
    curve[396] = 4'h3; curve[397] = 4'hd; curve[398] = 4'h7; curve[399] = 4'h1;
    curve[400] = 4'hc; curve[401] = 4'h6; curve[402] = 4'h1; curve[403] = 4'hc;
    curve[404] = 4'h7; curve[405] = 4'h3; curve[406] = 4'he; curve[407] = 4'ha;
    curve[408] = 4'h7; curve[409] = 4'h3; curve[410] = 4'hf; curve[411] = 4'hc;
    curve[412] = 4'h9; curve[413] = 4'h6; curve[414] = 4'h4; curve[415] = 4'h2;
    curve[416] = 4'h0; curve[417] = 4'he; curve[418] = 4'hc; curve[419] = 4'ha;
    curve[420] = 4'h9; curve[421] = 4'h8; curve[422] = 4'h7; curve[423] = 4'h7;
    curve[424] = 4'h7; curve[425] = 4'h6; curve[426] = 4'h6; curve[427] = 4'h7;
    curve[428] = 4'h7; curve[429] = 4'h8; curve[430] = 4'h9; curve[431] = 4'ha;
    curve[432] = 4'hc; curve[433] = 4'hd; curve[434] = 4'hf; curve[435] = 4'h1;
    curve[436] = 4'h3; curve[437] = 4'h6; curve[438] = 4'h8; curve[439] = 4'hb;
    curve[440] = 4'hf; curve[441] = 4'h2; curve[442] = 4'h5; curve[443] = 4'h9;
    curve[444] = 4'hd; curve[445] = 4'h1; curve[446] = 4'h6; curve[447] = 4'hb;
    curve[448] = 4'h0; curve[449] = 4'h5; curve[450] = 4'ha; curve[451] = 4'hf;
    curve[452] = 4'h5; curve[453] = 4'hb; curve[454] = 4'h1; curve[455] = 4'h8;
    curve[456] = 4'hf; curve[457] = 4'h5; curve[458] = 4'hc; curve[459] = 4'h4;
    curve[460] = 4'hb; curve[461] = 4'h3; curve[462] = 4'hb; curve[463] = 4'h3;
    curve[464] = 4'hc; curve[465] = 4'h4; curve[466] = 4'hd; curve[467] = 4'h6;
    curve[468] = 4'hf; curve[469] = 4'h9; curve[470] = 4'h2; curve[471] = 4'hc;
    curve[472] = 4'h7; curve[473] = 4'h1; curve[474] = 4'hb; curve[475] = 4'h6;
    curve[476] = 4'h1; curve[477] = 4'hc; curve[478] = 4'h8; curve[479] = 4'h4;
    curve[480] = 4'h0; curve[481] = 4'hc; curve[482] = 4'h8; curve[483] = 4'h4;
    curve[484] = 4'h1; curve[485] = 4'he; curve[486] = 4'hb; curve[487] = 4'h9;
    curve[488] = 4'h7; curve[489] = 4'h4; curve[490] = 4'h2; curve[491] = 4'h1;
    curve[492] = 4'hf; curve[493] = 4'he; curve[494] = 4'hd; curve[495] = 4'hc;
    curve[496] = 4'hc; curve[497] = 4'hb; curve[498] = 4'hb; curve[499] = 4'hb;
    curve[500] = 4'hb; curve[501] = 4'hc; curve[502] = 4'hc; curve[503] = 4'hd;
    curve[504] = 4'hf; curve[505] = 4'h0; curve[506] = 4'h1; curve[507] = 4'h3;
    curve[508] = 4'h5; curve[509] = 4'h7; curve[510] = 4'ha; curve[511] = 4'hd;
  end

  function parity;
    input [2:0] key;
    case (key)
      3'd0: parity = 1'h0; 3'd1: parity = 1'h1; 3'd2: parity = 1'h1; 3'd3: parity = 1'h0;
      3'd4: parity = 1'h1; 3'd5: parity = 1'h0; 3'd6: parity = 1'h0; 3'd7: parity = 1'h1;
      default: parity = 1'bx;
    endcase
  endfunction

  // first
  wire        [2:0] t1  = a;
  wire signed [3:0] u_2 = wave(t1);
  wire        [2:0] t2  = b;
  wire signed [3:0] v_2 = wave(t2);

  // second
  wire [3:0] w_2 = curve[k];

  wire q_2 = parity(p);

  // second
  wire signed [5:0] s_2 = {{2{u_2[3]}}, u_2} + {2'd0, w_2};

  assign u = u_2;
  assign v = v_2;
  assign w = w_2;
  assign q = q_2;
  assign s = s_2;
endmodule
