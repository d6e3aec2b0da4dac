// arithmetic.v
module arithmetic (
  input  wire signed [5:0]  x,
  input  wire        [4:0]  y,
  input  wire        [4:0]  z,
  input  wire               sel,
  output wire signed [6:0]  sum,
  output wire signed [6:0]  difference,
  output wire signed [10:0] product,
  output wire signed [7:0]  three,
  output wire signed [3:0]  rounded,
  output wire        [2:0]  held,
  output wire signed [3:0]  wrapped,
  output wire        [5:0]  magnitude,
  output wire        [4:0]  positive_n,
  output wire signed [5:0]  least,
  output wire        [4:0]  most,
  output wire signed [5:0]  chosen,
  output wire        [4:0]  both,
  output wire        [4:0]  either,
  output wire        [4:0]  one,
  output wire        [4:0]  none,
  output wire        [5:0]  joined,
  output wire        [2:0]  middle,
  output wire               same,
  output wire               before_n
);

  // sums
  wire signed [6:0] sum_2        = {x[5], x} + {2'd0, y};
  wire signed [6:0] difference_2 = {x[5], x} - {2'd0, y};

  // products
  (* use_dsp = "no", syn_multstyle = "logic" *)
  wire signed [10:0] product_2;
  assign product_2 = x * $signed({1'd0, y});

  // sums
  wire signed [6:0] negative = -{x[5], x};
  wire        [7:0] t1       = ~{3'd0, y};
  wire        [7:0] t2       = ({{2{x[5]}}, x} & t1) | ({negative[6], negative} & ({{2{x[5]}}, x} | t1));
  wire        [7:0] t3       = {t2[6:0], 1'd1} + (({{2{x[5]}}, x} ^ t1) ^ {negative[6], negative});
  wire signed [7:0] three_2  = t3;

  // conversions
  wire        [4:0] t4        = {4'd0, (x[1] & (x[0] | x[2]))};
  wire signed [4:0] t5        = {x[5], x[5:2]} + t4;
  wire signed [3:0] rounded_2 = ((~t5[4]) & t5[3]) ? 4'sd7 : t5[3:0];
  wire        [2:0] t6        = ((~x[5]) & x[4]) ? 3'd7 : x[3:1];
  wire        [2:0] held_2    = x[5] ? 3'd0 : t6;
  wire signed [6:0] t7        = {sum_2[6], sum_2[6:1]} + {6'd0, sum_2[0]};
  wire signed [3:0] wrapped_2 = t7[3:0];

  // signs
  wire [5:0] magnitude_2  = x[5] ? (-x) : x;
  wire [4:0] positive_n_2 = x[5] ? 5'd0 : x[4:0];

  // choices
  wire              t8       = x < $signed({1'd0, y});
  wire signed [5:0] least_2  = t8 ? x : {1'd0, y};
  wire        [4:0] most_2   = t8 ? y : x[4:0];
  wire signed [5:0] chosen_2 = sel ? x : {1'd0, y};

  // bits
  wire [4:0] both_2   = y & z;
  wire [4:0] either_2 = y | z;
  wire [4:0] one_2    = y ^ z;
  wire [4:0] none_2   = ~y;
  wire [5:0] joined_2 = {y, sel};
  wire [2:0] middle_2 = x[4:2];

  // choices
  wire same_2     = x == {1'd0, y};
  wire t9         = x > $signed({1'd0, y});
  wire before_n_2 = ~t9;

  assign sum        = sum_2;
  assign difference = difference_2;
  assign product    = product_2;
  assign three      = three_2;
  assign rounded    = rounded_2;
  assign held       = held_2;
  assign wrapped    = wrapped_2;
  assign magnitude  = magnitude_2;
  assign positive_n = positive_n_2;
  assign least      = least_2;
  assign most       = most_2;
  assign chosen     = chosen_2;
  assign both       = both_2;
  assign either     = either_2;
  assign one        = one_2;
  assign none       = none_2;
  assign joined     = joined_2;
  assign middle     = middle_2;
  assign same       = same_2;
  assign before_n   = before_n_2;

  // Bits that nothing reads, gathered so that lint tools know it is meant.
  wire unused = &{1'b0, t2[7], t7[6:4]};
endmodule
